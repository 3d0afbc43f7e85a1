FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
ARG COMMIT=
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT" -o /out/entrepot ./cmd/entrepot \
 && mkdir -p /out/data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/entrepot /entrepot
# A named volume takes over the owner of this directory, so the user below can write to it.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
# The admin listener stays on loopback inside the container; the healthcheck reaches it there.
ENV ENTREPOT_LISTEN=0.0.0.0:5000 \
    ENTREPOT_DATA=/data
VOLUME /data
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/entrepot", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/entrepot"]
