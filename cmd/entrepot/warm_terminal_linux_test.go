package main

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWarmingIsDrawnOnATerminal(t *testing.T) {
	screen, errs := terminal(t)
	if err := unix.IoctlSetWinsize(int(errs.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 120}); err != nil {
		t.Fatal(err)
	}
	shown := invocation{errs: errs}.showWarming()
	shown.tell(someProgress)
	newLogger(Config{}, shown.logs).Warn("of the log")
	var drawn strings.Builder
	for buf := make([]byte, 4<<10); ; {
		n, err := screen.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		drawn.Write(buf[:n])
		if s := drawn.String(); strings.Contains(s, "docker.io/team/app:1") && strings.Contains(s, "5.0 MiB of 9.0 MiB") && strings.Contains(s, "a note") && strings.Contains(s, "of the log") {
			break
		}
	}
	shown.tell(warmState{})
	shown.end()
}
