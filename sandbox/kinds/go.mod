// Other projects' kinds that the chart can make objects of: their modules hold the CRDs. Nothing is built, so that only
// the two modules themselves are fetched; `go mod tidy` would remove them.
module stanch.dev/sandbox/kinds

go 1.26.0

require (
	github.com/cert-manager/cert-manager v1.21.2
	github.com/prometheus-operator/prometheus-operator v0.85.0
)
