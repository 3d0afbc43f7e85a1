#!/bin/sh
# Imports stand-ins of the base images that the Dockerfile names, made of what this machine has, so that the real Dockerfile
# builds without a registry. Needs busybox-static, ca-certificates, Go, and DOCKER_HOST.
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

# golang: a shell and this machine's Go, which fetches modules from where this machine does.
mkdir -p "$root/bin" "$root/sbin" "$root/usr/bin" "$root/usr/sbin" "$root/usr/local" "$root/go"
cp /bin/busybox "$root/bin/busybox"
chroot "$root" /bin/busybox --install -s
cp -R "$(go env GOROOT)" "$root/usr/local/go"
tar -C "$root" -c . | docker import \
	-c 'ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
	-c 'ENV GOPATH=/go' -c 'ENV GOTOOLCHAIN=local' -c 'ENV GOFLAGS=-buildvcs=false' \
	-c "ENV GOPROXY=$(go env GOPROXY)" -c "ENV GOSUMDB=$(go env GOSUMDB)" \
	-c 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
	-c 'WORKDIR /go' \
	- golang:1.26
