// Command controlplane is a Kubernetes control plane in one program: the name it is called by (a link)
// or its first argument picks the part to run. One program means one link step, one copy of the shared
// packages on disk, and the versions of all parts pinned together in go.mod.
//
// With the build tag `only` the program holds just the parts whose tags (etcd, kubernetes, kubectl,
// kwok) are given too, so that a part that does not build costs only itself.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// parts maps a component's name to what runs it: it reads os.Args, whose first element is the
// component's name, and returns an exit code. Each file of a part adds its own.
var parts = map[string]func() int{}

func main() {
	os.Args[0] = filepath.Base(os.Args[0])
	run, known := parts[os.Args[0]]
	if !known && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		run, known = parts[os.Args[0]]
	}
	if !known {
		names := strings.Join(slices.Sorted(maps.Keys(parts)), ", ")
		fmt.Fprintf(os.Stderr, "usage: controlplane PART [ARGUMENT...], PART one of: %s\n", names)
		os.Exit(2)
	}
	os.Exit(run())
}
