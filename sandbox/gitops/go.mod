// Where the definitions of Flux's and Argo CD's kinds are from; sandbox/kinds.py reads them. Nothing is compiled.
module stanch.dev/sandbox/gitops

go 1.26.0

require (
	github.com/argoproj/argo-cd/v3 v3.4.13
	github.com/fluxcd/helm-controller v1.6.4
	github.com/fluxcd/kustomize-controller v1.9.6
	github.com/fluxcd/source-controller v1.9.6
)
