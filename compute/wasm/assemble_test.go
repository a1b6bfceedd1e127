package wasm

// Hand-made modules for what no compiler produces.

func section(id byte, content ...byte) []byte {
	return append([]byte{id}, sized(content)...)
}

func sized(b []byte) []byte { return append(leb(uint32(len(b))), b...) }

func leb(v uint32) (out []byte) {
	for {
		c := byte(v & 0x7f)
		if v >>= 7; v == 0 {
			return append(out, c)
		}
		out = append(out, c|0x80)
	}
}

func name(s string) []byte { return sized([]byte(s)) }

func cat(parts ...[]byte) (out []byte) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func module(sections ...[]byte) []byte {
	return append([]byte("\x00asm\x01\x00\x00\x00"), cat(sections...)...)
}

var (
	typesVoid   = section(1, 1, 0x60, 0, 0)                                   // () → ()
	funcsOne    = section(3, 1, 0)                                            // one function of type 0
	exportStart = section(7, cat([]byte{1}, name("_start"), []byte{0, 0})...) // it is _start
)

// program is a module whose _start has the given body.
func program(body ...byte) []byte {
	code := append(append([]byte{0}, body...), 0x0b) // no locals … end
	return module(typesVoid, funcsOne, section(5, 1, 0, 1), exportStart, section(10, cat([]byte{1}, sized(code))...))
}

// importing is a program that imports a function of type () → ().
func importing(mod, field string) []byte {
	imports := section(2, cat([]byte{1}, name(mod), name(field), []byte{0, 0})...)
	start := section(7, cat([]byte{1}, name("_start"), []byte{0, 1})...)
	return module(typesVoid, imports, funcsOne, start, section(10, cat([]byte{1}, sized([]byte{0, 0x0b}))...))
}
