//go:build !only || kubernetes

package main

import (
	_ "time/tzdata" // CronJob time zones on machines without a zone database

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func init() {
	parts["kube-apiserver"] = func() int { return cli.Run(apiserver.NewAPIServerCommand()) }
	parts["kube-controller-manager"] = func() int { return cli.Run(controllermanager.NewControllerManagerCommand()) }
	parts["kube-scheduler"] = func() int { return cli.Run(scheduler.NewSchedulerCommand()) }
}
