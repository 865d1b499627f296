package busguard

import "bytes"

const (
	maxSignature = 255
	maxNesting   = 32 // of arrays, and of structures, in one signature
	basicTypes   = "ybnqiuxtdsogh"
)

// validSignature reports whether s is zero or more complete types.
func validSignature(s []byte) bool {
	if len(s) > maxSignature {
		return false
	}
	var ok bool
	for len(s) > 0 {
		if s, ok = complete(s, 0, 0); !ok {
			return false
		}
	}
	return true
}

// single reports whether s is exactly one complete type.
func single(s []byte) bool {
	if len(s) > maxSignature {
		return false
	}
	rest, ok := complete(s, 0, 0)
	return ok && len(rest) == 0
}

// complete takes one complete type off s, inside of so many containers.
func complete(s []byte, arrays, structs int) (rest []byte, ok bool) {
	switch {
	case len(s) == 0 || arrays > maxNesting || structs > maxNesting:
		return nil, false
	case s[0] == 'v' || bytes.IndexByte([]byte(basicTypes), s[0]) >= 0:
		return s[1:], true
	case s[0] == '(':
		return members(s[1:], arrays, structs+1)
	case s[0] == 'a' && len(s) > 1 && s[1] == '{':
		if len(s) < 3 || bytes.IndexByte([]byte(basicTypes), s[2]) < 0 {
			return nil, false
		}
		rest, ok = complete(s[3:], arrays+1, structs+1)
		if !ok || len(rest) == 0 || rest[0] != '}' {
			return nil, false
		}
		return rest[1:], true
	case s[0] == 'a':
		return complete(s[1:], arrays+1, structs)
	}
	return nil, false
}

// members takes the members of a structure, of which there is at least one, and
// its end.
func members(s []byte, arrays, structs int) (rest []byte, ok bool) {
	for n := 0; len(s) > 0; n++ {
		if s[0] == ')' {
			return s[1:], n > 0
		}
		if s, ok = complete(s, arrays, structs); !ok {
			return nil, false
		}
	}
	return nil, false
}

// typeLen is the length of the first complete type of a valid signature.
func typeLen(s []byte) int {
	depth := 0
	for i, c := range s {
		switch c {
		case '(', '{':
			depth++
		case ')', '}':
			depth--
		case 'a':
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(s)
}
