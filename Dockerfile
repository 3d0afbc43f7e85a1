# The program is compiled on the machine that builds, for the machine that the image is for. Builders that name neither
# build for their own.
FROM --platform=${BUILDPLATFORM:-linux} golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=devel
ARG COMMIT=
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT" -o /out/entrepot ./cmd/entrepot \
 && mkdir -p /out/data

FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=devel
ARG COMMIT=
LABEL org.opencontainers.image.title="entrepôt" \
      org.opencontainers.image.description="A pull-through caching container registry proxy that also hosts pushed repositories" \
      org.opencontainers.image.source="https://github.com/entrepot/entrepot" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
COPY --from=build /out/entrepot /entrepot
# A named volume takes over the owner of this directory, so the user below can write to it.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
# The admin listener stays on loopback inside the container unless ENTREPOT_ADMIN_LISTEN says otherwise.
ENV ENTREPOT_LISTEN=0.0.0.0:5000 \
    ENTREPOT_DATA=/data
VOLUME /data
EXPOSE 5000
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["/entrepot", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/entrepot"]
