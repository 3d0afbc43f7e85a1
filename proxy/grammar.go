package proxy

import "strings"

// ValidName reports whether s is a repository name of the distribution specification: path components of lower-case
// letters and digits, separated inside by a period, one or two underscores, or hyphens.
func ValidName(s string) bool {
	if len(s) > maxNameLength {
		return false
	}
	for {
		component, rest, more := strings.Cut(s, "/")
		if !validComponent(component) {
			return false
		}
		if !more {
			return true
		}
		s = rest
	}
}

func validComponent(s string) bool {
	if s == "" || !isLowerAlnum(s[0]) || !isLowerAlnum(s[len(s)-1]) {
		return false
	}
	for i := 0; i < len(s); {
		if isLowerAlnum(s[i]) {
			i++
			continue
		}
		end := i
		for !isLowerAlnum(s[end]) { // ends: the last byte is one
			end++
		}
		if !validSeparator(s[i:end]) {
			return false
		}
		i = end
	}
	return true
}

func validSeparator(s string) bool {
	return s == "." || s == "_" || s == "__" || strings.Trim(s, "-") == ""
}

// ValidTag reports whether s may be a tag.
func ValidTag(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !isLowerAlnum(c) && (c < 'A' || c > 'Z') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// ValidDigest reports whether s is a digest of an algorithm that is served, spelled as the specification spells it. What
// passes may become part of a file name.
func ValidDigest(s string) bool {
	switch {
	case strings.HasPrefix(s, "sha256:"):
		return isHex(s[7:], 64)
	case strings.HasPrefix(s, "sha512:"):
		return isHex(s[7:], 128)
	}
	return false
}

// validUpload reports whether s may name an upload, or none. What passes may become part of a file name.
func validUpload(s string) bool {
	if len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLowerAlnum(c) && (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return true
}

func isHex(s string, length int) bool {
	if len(s) != length {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isLowerAlnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
