package sandbox

import (
	"os/exec"
	"syscall"
)

// dieWithTest ends the command when the test process dies without its cleanups, as it does at the end of -timeout.
func dieWithTest(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
