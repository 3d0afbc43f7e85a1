// Command app is what the images of these tests hold: run in a container, it reads the image's data files and says what it
// read. With arguments it reads those files only.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	files := os.Args[1:]
	if len(files) == 0 {
		files, _ = filepath.Glob("/data-*") // the pattern is well formed, and no other error exists
	}
	var total int64
	for _, name := range files {
		n, err := read(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, "app:", err)
			os.Exit(1)
		}
		total += n
	}
	fmt.Printf("app read %d files, %d bytes\n", len(files), total)
}

func read(name string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.Copy(io.Discard, f)
}
