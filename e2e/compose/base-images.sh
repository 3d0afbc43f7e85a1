#!/bin/sh
# Imports stand-ins of the images that the Dockerfile and the compose files name, made of what this machine has, so that they
# build and run without a registry. Needs busybox-static, ca-certificates, haproxy, Go, DOCKER_HOST, and VERSITYGW, a program.
set -eu
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# distroless/static: accounts and certificate authorities.
mkdir -p "$root/etc/ssl/certs" "$root/tmp" "$root/home/nonroot"
printf 'root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/home/nonroot:/bin/false\n' > "$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' > "$root/etc/group"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
chmod 1777 "$root/tmp"
chown 65532:65532 "$root/home/nonroot"
tar -C "$root" -c . | docker import \
	-c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
	-c 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
	-c 'USER 65532' -c 'WORKDIR /home/nonroot' \
	- gcr.io/distroless/static-debian12:nonroot

# What the others have of Alpine: a shell and its commands.
mkdir -p "$root/bin" "$root/sbin" "$root/usr/bin" "$root/usr/sbin" "$root/usr/local/bin"
cp /bin/busybox "$root/bin/busybox"
chroot "$root" /bin/busybox --install -s

# versitygw: a program that takes its arguments.
cp "$VERSITYGW" "$root/usr/local/bin/versitygw"
tar -C "$root" -c . | docker import -c 'ENTRYPOINT ["/usr/local/bin/versitygw"]' - versity/versitygw:v1.8.0
rm "$root/usr/local/bin/versitygw"

# golang: this machine's Go, which fetches modules from where this machine does.
mkdir -p "$root/go"
cp -R "$(go env GOROOT)" "$root/usr/local/go"
tar -C "$root" -c . | docker import \
	-c 'ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
	-c 'ENV GOPATH=/go' -c 'ENV GOTOOLCHAIN=local' -c 'ENV GOFLAGS=-buildvcs=false' \
	-c "ENV GOPROXY=$(go env GOPROXY)" -c "ENV GOSUMDB=$(go env GOSUMDB)" \
	-c 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
	-c 'WORKDIR /go' \
	- golang:1.26
rm -r "$root/usr/local/go"

# haproxy: Debian's, with the libraries that it is linked to.
for file in /usr/sbin/haproxy $(ldd /usr/sbin/haproxy | grep -o '/[^ ]*'); do
	mkdir -p "$root$(dirname "$file")"
	cp -L "$file" "$root$file"
done
tar -C "$root" -c . | docker import \
	-c 'USER 99:99' -c 'STOPSIGNAL SIGUSR1' \
	-c 'CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]' \
	- haproxy:3.2-alpine
