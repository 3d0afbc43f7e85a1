//go:build !linux

package sandbox

import "os/exec"

func dieWithTest(*exec.Cmd) {}
