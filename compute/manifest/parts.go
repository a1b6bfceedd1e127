package manifest

import (
	"path"
	"strings"
)

// RegistrySecret is the one name among a manifest's Secrets that is no variable:
// it stands for the credentials with which the image is pulled.
const RegistrySecret = "MOYAI_REGISTRY"

// validateProgram: a module or an image, and not both.
func (m Manifest) validateProgram() error {
	if m.Image.IsZero() {
		return validateCID("module", m.Module)
	}
	if len(m.Module) > 0 {
		return invalid("both a module and an image, where one says what to run")
	}
	if m.Runtime != RuntimeContainer {
		return invalid("an image where the runtime is %q; images are for %q", m.Runtime, RuntimeContainer)
	}
	return m.Image.validate()
}

// validate accepts what a registry's client can take apart without guessing: the
// default host and tag are written out by whoever writes the manifest.
func (i Image) validate() error {
	if len(i.Digest) != 0 && len(i.Digest) != 32 {
		return invalid("image digest of %d bytes where 32 are", len(i.Digest))
	}
	if err := validateWord("image reference", i.Reference, MaxReference); err != nil {
		return err
	}
	host, rest, ok := strings.Cut(i.Reference, "/")
	if name := rest[strings.LastIndexByte(rest, '/')+1:]; !ok || host == "" || !strings.Contains(name, ":") || strings.Contains(rest, "@") {
		return invalid("image reference %q is not host/repository:tag", i.Reference)
	}
	if i.Platform == "" {
		return nil
	}
	if !strings.HasPrefix(i.Platform, "linux/") {
		return invalid("platform %q is not linux/ and an architecture", i.Platform)
	}
	return validateWord("platform", i.Platform, MaxPlatform)
}

// validateWord accepts 1 to most bytes of printable ASCII without spaces.
func validateWord(field, s string, most int) error {
	if len(s) < 1 || len(s) > most {
		return invalid("%s of %d bytes, outside 1 to %d", field, len(s), most)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return invalid("%s %q has a character that is not printable ASCII", field, s)
		}
	}
	return nil
}

func (m Manifest) validateVolumes() error {
	if len(m.Volumes) > MaxVolumes {
		return invalid("%d volumes where %d are allowed", len(m.Volumes), MaxVolumes)
	}
	at := map[string]bool{}
	for i, v := range m.Volumes {
		if err := v.validate(); err != nil {
			return err
		}
		if i > 0 && m.Volumes[i-1].Name >= v.Name {
			return invalid("volumes are not sorted and unique at %q", v.Name)
		}
		if at[v.Path] {
			return invalid("two volumes are at %q", v.Path)
		}
		at[v.Path] = true
	}
	return nil
}

func (v Volume) validate() error {
	if err := ValidateVolumeName(v.Name); err != nil {
		return err
	}
	if err := ValidateVolumePath(v.Path); err != nil {
		return err
	}
	if v.Bytes < 1 || v.Bytes > MaxContent {
		return invalid("volume %q of %d bytes, outside 1 to %d", v.Name, v.Bytes, uint64(MaxContent))
	}
	if v.KeepMS > MaxTimeoutMS {
		return invalid("volume %q is to be kept for %d ms where %d are allowed", v.Name, v.KeepMS, uint64(MaxTimeoutMS))
	}
	return nil
}

// ValidateVolumeName accepts 1 to MaxInputName bytes of letters, digits, '.', '_'
// and '-', beginning with a letter or digit.
func ValidateVolumeName(name string) error {
	if len(name) < 1 || len(name) > MaxInputName {
		return invalid("volume name of %d bytes, outside 1 to %d", len(name), MaxInputName)
	}
	for i := range len(name) {
		c := name[i]
		plain := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !plain && (i == 0 || c != '.' && c != '_' && c != '-') {
			return invalid("volume name %q is not letters, digits, '.', '_' and '-'", name)
		}
	}
	return nil
}

// taken are the places inside that are something else already, with all below
// them.
var taken = []string{"/dev", "/in", "/out", "/proc", "/sys"}

// ValidateVolumePath accepts an absolute, clean path that is not the root and
// takes no place of the runtime's own.
func ValidateVolumePath(p string) error {
	if len(p) > MaxPath || !path.IsAbs(p) || path.Clean(p) != p || p == "/" {
		return invalid("volume path %q is not an absolute path of at most %d bytes, without '.', '..' and trailing '/'", p, MaxPath)
	}
	if err := validateText("volume path", p, MaxPath); err != nil {
		return err
	}
	for _, t := range taken {
		if p == t || strings.HasPrefix(p, t+"/") {
			return invalid("volume path %q lies in %s, which is the runtime's own", p, t)
		}
	}
	return nil
}

func (m Manifest) validateSecrets() error {
	if len(m.Secrets) > MaxSecrets {
		return invalid("%d secrets where %d are allowed", len(m.Secrets), MaxSecrets)
	}
	for i, name := range m.Secrets {
		if name == RegistrySecret {
			if m.Image.IsZero() {
				return invalid("registry credentials without an image to pull")
			}
		} else if err := (Var{Key: name}).validate(); err != nil {
			return err
		}
		if i > 0 && m.Secrets[i-1] >= name {
			return invalid("secrets are not sorted and unique at %q", name)
		}
		for _, v := range m.Env {
			if v.Key == name {
				return invalid("%q is both in the environment and secret", name)
			}
		}
	}
	return nil
}
