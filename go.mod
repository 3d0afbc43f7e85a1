module github.com/entrepot/entrepot

go 1.26.0

// fasthttp names go-brrr v1.3.0, which the module proxy does not serve; v1.0.1 has the same API. Only fasthttp's own brotli helpers use it, and nothing here calls them.
replace github.com/molecule-man/go-brrr => github.com/molecule-man/go-brrr v1.0.1

require (
	github.com/opencontainers/go-digest v1.0.0
	github.com/opencontainers/image-spec v1.1.1
)
