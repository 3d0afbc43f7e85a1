package access

// SetPassword gives the text of an htpasswd file in which the user has that password. The rest of it stays as it is.
func SetPassword(text []byte, name, password string) ([]byte, error) { return nil, errUnfinished }

// RemoveUser gives the text of an htpasswd file without the user. The rest of it stays as it is.
func RemoveUser(text []byte, name string) (rest []byte, found bool) { return text, false }
