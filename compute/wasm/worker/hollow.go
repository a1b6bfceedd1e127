package worker

import (
	"bytes"
	"encoding/binary"
)

// Sections of the binary format that hollowing looks at.
const (
	sectionCustom = 0
	sectionCode   = 10
)

// hollowBody is a function body of any type: three bytes that say no locals,
// unreachable, end.
var hollowBody = []byte{3, 0x00, 0x00, 0x0b}

// hollow returns a module like b in everything but its functions, which trap.
//
// wazero decodes, validates and hashes a whole module each time it takes the
// compiled code from the cache, and functions are most of a module: three
// quarters of a load went into bodies that are never looked at again. Types,
// imports, memories, tables, globals, data and names are all that it needs
// beside the code, so the cache keeps a hollow module and the code under that
// module's key.
//
// Errors: errTruncated, or a module that wazero would refuse.
func hollow(b []byte) ([]byte, error) {
	if err := checkMagic(b); err != nil {
		return nil, err
	}
	out := bytes.Clone(magicModule)
	r := &reader{b: b[len(magicModule):]}
	for len(r.b) > 0 && r.err == nil {
		id := r.byte()
		section := r.take(r.u32())
		switch id {
		case sectionCustom:
			if name := (&reader{b: section}).name(); name != "name" {
				continue
			}
		case sectionCode:
			n := (&reader{b: section}).u32()
			if n > uint64(len(section)) {
				return nil, errTruncated
			}
			section = append(binary.AppendUvarint(nil, n), bytes.Repeat(hollowBody, int(n))...)
		}
		out = append(binary.AppendUvarint(append(out, id), uint64(len(section))), section...)
	}
	return out, r.err
}
