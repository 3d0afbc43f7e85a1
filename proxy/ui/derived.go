package ui

import "strings"

// share is how much part is of whole; 0 where there is no whole.
func share(part, whole int64) float64 {
	if whole <= 0 || part <= 0 {
		return 0
	}
	return min(float64(part)/float64(whole), 1)
}

// saved is how much of what was sent needed not be fetched.
func saved(sent, fetched int64) int64 { return max(sent-fetched, 0) }

// Saved is what clients got and no upstream was asked for.
func (l Live) Saved() int64 { return saved(l.Sent, l.Fetched) }

// SavedShare is that of all that clients got.
func (l Live) SavedShare() float64 { return share(l.Saved(), l.Sent) }

// Larger is the larger one of what was sent and fetched, by which both are drawn.
func (l Live) Larger() int64 { return max(l.Sent, l.Fetched) }

// SentWidth and FetchedWidth are the lengths of their bars.
func (l Live) SentWidth() float64 { return share(l.Sent, l.Larger()) }

// FetchedWidth is like SentWidth.
func (l Live) FetchedWidth() float64 { return share(l.Fetched, l.Larger()) }

// Requests is how many requests for upstreams' content there were.
func (l Live) Requests() int64 { return l.Hits + l.Misses }

// HitShare is how many of them cost upstream nothing.
func (l Live) HitShare() float64 { return share(l.Hits, l.Requests()) }

// Running is how many fills are under way.
func (l Live) Running() int { return len(l.Fills) + l.MoreFills }

// SavedShare is like Live's.
func (u Upstream) SavedShare() float64 { return share(saved(u.Sent, u.Fetched), u.Sent) }

// Share is how much of a limit is left.
func (l Limit) Share() float64 { return share(l.Remaining, l.Limit) }

// Low tells whether it is time to look at it.
func (l Limit) Low() bool { return l.Limit > 0 && l.Share() < 0.1 }

// Share is how full the tier is.
func (t Tier) Share() float64 { return share(t.Used, t.Limit) }

// Share is how much of the blob has come.
func (f Fill) Share() float64 { return share(f.Have, f.Size) }

// Most is what the largest repository takes, by which the others are drawn.
func (s Space) Most() int64 {
	var most int64
	for _, l := range s.Largest {
		most = max(most, l.Bytes)
	}
	return most
}

// Share is how large a repository is beside the largest one.
func (l Largest) Share(most int64) float64 { return share(l.Bytes, most) }

// Reference is what a client writes to get the image, behind the server's name.
func (i Image) Reference() string {
	if i.Tag != "" {
		return i.Repository + ":" + i.Tag
	}
	return i.Repository + "@" + string(i.Digest)
}

// Here is how many of the layers are here.
func (i Image) Here() int {
	n := 0
	for _, l := range i.Layers {
		if l.Kept == KeptAll {
			n++
		}
	}
	return n
}

// LayerBytes is what all layers take.
func (i Image) LayerBytes() int64 {
	var sum int64
	for _, l := range i.Layers {
		sum += max(l.Size, 0)
	}
	return sum
}

// LargestLayer is what the largest layer takes, by which the others are drawn.
func (i Image) LargestLayer() int64 {
	var most int64
	for _, l := range i.Layers {
		most = max(most, l.Size)
	}
	return most
}

// Share is how large a layer is beside the largest one.
func (l Layer) Share(most int64) float64 { return share(l.Size, most) }

// Newest is the tag whose pull is shown: latest, else the one that changed last.
func (r RepositoryPage) Newest() string {
	var newest Tag
	for _, t := range r.Tags {
		if t.Name == "latest" {
			return t.Name
		}
		if newest.Name == "" || t.Changed.After(newest.Changed) {
			newest = t
		}
	}
	return newest.Name
}

// Namespace is what stands before the last element of the name, with its slash, and Base that element.
func (r Repository) Namespace() string { return r.Name[:strings.LastIndexByte(r.Name, '/')+1] }

// Base is the last element of the name.
func (r Repository) Base() string { return r.Name[strings.LastIndexByte(r.Name, '/')+1:] }

// TagCount is Tags as a number that templates can write with commas.
func (r Repository) TagCount() int64 { return int64(r.Tags) }

// Begin is what to do with a server that holds nothing: commands that work one after the other.
func (o Overview) Begin() []Step {
	image, from := "my-image", ""
	switch o.Default {
	case "":
	case "docker.io":
		image, from = o.Server+"/library/alpine", "The first pull comes from Docker Hub, every later one from here."
	default:
		image, from = o.Server+"/NAME", "NAME stands for an image of "+o.Default+"."
	}
	push := Step{Does: "Push an image of your own. A name of one word needs no setting.",
		Content: "docker tag " + image + " " + o.Server + "/my-image\ndocker push " + o.Server + "/my-image"}
	if from == "" {
		return []Step{push}
	}
	return []Step{{Does: "Pull through this server. " + from, Content: "docker pull " + image}, push}
}
