//go:build !only || kubectl

package main

import (
	"os"

	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func init() {
	parts["kubectl"] = func() int {
		// Plugins and kuberc are read while the command is built, so the verbosity has to be set before.
		if _, err := logs.GlogSetter(cmd.GetLogVerbosity(os.Args)); err != nil {
			util.CheckErr(err)
		}
		if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
			util.CheckErr(err)
		}
		return 0
	}
}
