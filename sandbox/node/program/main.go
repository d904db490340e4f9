// Command node is what a Kubernetes node runs, in one program: its first argument picks the part.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// parts maps a part's name to what runs it: it reads os.Args, whose first element is the part's name.
var parts = map[string]func() error{
	"kubelet":    func() error { return cli.RunNoErrOutput(kubelet.NewKubeletCommand(context.Background())) },
	"kube-proxy": func() error { return cli.RunNoErrOutput(proxy.NewProxyCommand()) },
	"enforcer":   runEnforcer,
	"machine":    runMachine,
	"init":       runInit,
	"relay":      runRelay,
}

func main() {
	names := strings.Join(slices.Sorted(maps.Keys(parts)), ", ")
	if len(os.Args) < 2 {
		fmt.Fprintf(os.Stderr, "usage: node PART [ARGUMENT...], PART one of: %s\n", names)
		os.Exit(2)
	}
	os.Args = os.Args[1:]
	run, known := parts[os.Args[0]]
	if !known {
		fmt.Fprintf(os.Stderr, "node: no part is called %q; there are %s\n", os.Args[0], names)
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
}
