package cache

import "slices"

// span is the half-open range of bytes [from, to).
type span struct{ from, to int64 }

// extents is the set of byte ranges that a sparse file has: sorted, disjoint, never touching. The zero value is empty.
type extents []span

// add puts [from, to) into the set, merging what it touches.
func (e *extents) add(from, to int64) {
	if from >= to {
		return
	}
	s := *e
	i := 0
	for i < len(s) && s[i].to < from {
		i++
	}
	j := i
	for j < len(s) && s[j].from <= to {
		from, to = min(from, s[j].from), max(to, s[j].to)
		j++
	}
	*e = slices.Replace(s, i, j, span{from, to})
}

// reach says up to where the set is contiguous from off on; off itself when it lacks that byte.
func (e extents) reach(off int64) int64 {
	for _, s := range e {
		if s.from <= off && off < s.to {
			return s.to
		}
	}
	return off
}

// gap finds the first missing stretch within [from, to).
func (e extents) gap(from, to int64) (span, bool) {
	for _, s := range e {
		if s.to <= from {
			continue
		}
		if s.from > from {
			return span{from, min(to, s.from)}, from < to
		}
		from = s.to
	}
	return span{from, to}, from < to
}

// bytes is how many bytes the set has.
func (e extents) bytes() (n int64) {
	for _, s := range e {
		n += s.to - s.from
	}
	return n
}

// valid reports whether the set keeps its own rules and ends within size; a set read from a file may not.
func (e extents) valid(size int64) bool {
	last := int64(-1)
	for _, s := range e {
		if s.from <= last || s.from < 0 || s.to <= s.from || s.to > size {
			return false
		}
		last = s.to
	}
	return true
}
