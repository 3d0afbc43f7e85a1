package main

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// warn says at the start what is likely not meant. Nothing of it keeps the server from serving.
func (a *application) warn(c Config) {
	a.warnOfClients(c)
	a.warnOfModes(c)
	a.warnOfDescriptors(c)
}

// warnOfClients says to whom an address is open that others can reach.
func (a *application) warnOfClients(c Config) {
	if c.Listen.Loopback() {
		return
	}
	log := a.log.With("address", string(c.Listen))
	if c.Htpasswd != "" {
		if c.TLSCert == "" && !c.PublicURL.secure() && len(c.TrustedProxies) == 0 {
			log.Warn("passwords and tokens travel in the clear to this address", "remedy", prefix+"TLS_CERT, or a proxy with TLS and "+prefix+"TRUSTED_PROXIES")
		}
		return
	}
	if c.TLSClientCA == "" {
		log.Warn("everybody who can reach this address may pull through it")
	}
	if !c.ReadOnly {
		log.Warn("without users, whoever reaches this address from these networks may push and delete", "networks", "loopback, private, link-local")
	}
}

// warnOfModes says which files others on this machine may read or change, and should not. Hashes of passwords can be guessed.
func (a *application) warnOfModes(c Config) {
	for _, f := range []struct {
		variable, path string
		others         fs.FileMode // what they should not have
		can            string
	}{
		{"HTPASSWD", c.Htpasswd, 0o007, "read or change"},
		{"TOKEN_KEY", c.TokenKey, 0o007, "read or change"},
		{"POLICY", c.Policy, 0o022, "change"},
	} {
		if f.path == "" {
			continue
		}
		if info, err := os.Stat(f.path); err == nil && info.Mode()&f.others != 0 {
			a.log.Warn("other users of this machine can "+f.can+" this file", "variable", prefix+f.variable, "file", f.path, "mode", info.Mode().String())
		}
	}
}

// warnOfDescriptors says when connections could use up the descriptors. Go raises the limit as far as it may by itself.
func (a *application) warnOfDescriptors(c Config) {
	const others = 1024 // fills, upstream connections, records
	var limit unix.Rlimit
	need := uint64(2*c.MaxConnections + others)
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < need {
		a.log.Warn("the limit of open files is low for so many connections", "limit", limit.Cur, "needed", need, "connections", c.MaxConnections)
	}
}
