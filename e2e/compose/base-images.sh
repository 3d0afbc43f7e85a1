#!/bin/sh
# Imports stand-ins of the images that the Dockerfile and the compose files name, made of what this machine has, so that they
# build and run without a registry. Needs busybox-static, ca-certificates, haproxy, prometheus, Go, DOCKER_HOST, VERSITYGW (a
# program) and COMPILED (a build cache of Go, so that what has been compiled is not compiled again).
set -eu
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# save packs what there is; the daemon would take longer for it.
save() { tar -C "$root" -c . | gzip -1; }

# add copies a program with the libraries that it is linked to.
add() {
	for file in "$1" $(ldd "$1" | grep -o '/[^ ]*'); do
		mkdir -p "$root$(dirname "$file")"
		cp -L "$file" "$root$file"
	done
}

# distroless/static: accounts and certificate authorities.
mkdir -p "$root/etc/ssl/certs" "$root/tmp" "$root/home/nonroot"
printf 'root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/home/nonroot:/bin/false\n' > "$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' > "$root/etc/group"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
chmod 1777 "$root/tmp"
chown 65532:65532 "$root/home/nonroot"
save | docker import \
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
save | docker import -c 'ENTRYPOINT ["/usr/local/bin/versitygw"]' - versity/versitygw:v1.8.0
rm "$root/usr/local/bin/versitygw"

# golang: this machine's Go, which fetches modules from where this machine does.
mkdir -p "$root/go"
cp -R "$(go env GOROOT)" "$root/usr/local/go"
cp -R "$COMPILED" "$root/go/compiled"
save | docker import \
	-c 'ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
	-c 'ENV GOPATH=/go' -c 'ENV GOTOOLCHAIN=local' -c 'ENV GOFLAGS=-buildvcs=false' -c 'ENV GOCACHE=/go/compiled' \
	-c "ENV GOPROXY=$(go env GOPROXY)" -c "ENV GOSUMDB=$(go env GOSUMDB)" \
	-c 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
	-c 'WORKDIR /go' \
	- golang:1.26
rm -r "$root/usr/local/go" "$root/go"

# grafana: something that answers its health check and ends when it is told to. This machine has none, so what is
# proved is what it would read, not what it would show.
mkdir -p "$root/var/lib/grafana" "$root/srv/api"
echo '{"database": "ok"}' > "$root/srv/api/health"
chown 472:0 "$root/var/lib/grafana"
save | docker import \
	-c 'USER 472' -c 'ENTRYPOINT ["sh", "-c", "trap \"exit 0\" TERM; httpd -f -p 3000 -h /srv & wait"]' \
	- grafana/grafana:13.2.3
rm -r "$root/var/lib/grafana" "$root/srv"

# prometheus: Debian's.
add /usr/bin/prometheus
mkdir "$root/prometheus"
chown 65534:65534 "$root/prometheus"
save | docker import \
	-c 'USER 65534' -c 'WORKDIR /prometheus' -c 'ENTRYPOINT ["/usr/bin/prometheus"]' \
	- prom/prometheus:v3.13.5
rm -r "$root/usr/bin/prometheus" "$root/prometheus"

# haproxy: Debian's.
add /usr/sbin/haproxy
save | docker import \
	-c 'USER 99:99' -c 'STOPSIGNAL SIGUSR1' \
	-c 'CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]' \
	- haproxy:3.2-alpine
