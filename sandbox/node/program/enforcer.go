package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	settle     = 20 * time.Millisecond // changes come in bursts: one transaction for each
	retryAfter = time.Second
)

// runEnforcer enforces the NetworkPolicies of one node's pods with iptables, as CNI plugins do: new
// connections are judged, in both directions, at the receiver's address after Services are translated;
// what belongs to an established connection passes. The node itself always reaches its pods. A pod
// address that no pod is known to have yet makes and takes no connections, so that a pod is isolated from its first
// moment on. Packets that are not allowed are dropped.
func runEnforcer() error {
	flags := flag.NewFlagSet("enforcer", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API server")
	node := flags.String("node", "", "whose pods")
	pods := flags.String("pod-cidr", "", "the addresses of this node's pods")
	ready := flags.String("ready-file", "", "made when the rules stand for the first time")
	_ = flags.Parse(os.Args[1:])
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()

	changed := make(chan struct{}, 1)
	tell := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { tell() },
		UpdateFunc: func(any, any) { tell() },
		DeleteFunc: func(any) { tell() },
	}
	cluster := informers.NewSharedInformerFactory(client, 0)
	here := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(onNode(*node)))
	policies := cluster.Networking().V1().NetworkPolicies()
	namespaces := cluster.Core().V1().Namespaces()
	ours := here.Core().V1().Pods()
	for _, informer := range []cache.SharedIndexInformer{
		policies.Informer(), namespaces.Informer(), ours.Informer(),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	cluster.Start(ctx.Done())
	here.Start(ctx.Done())
	cluster.WaitForCacheSync(ctx.Done())
	here.WaitForCacheSync(ctx.Done())

	var last ruleset
	tell()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		time.Sleep(settle)
		state, err := gather(namespaces.Lister(), ours.Lister(), policies.Lister())
		if err != nil {
			return err
		}
		rules := state.ruleset(*pods)
		if rules.text == last.text {
			continue
		}
		if err := apply(rules.after(last)); err != nil {
			log.Printf("the rules were refused, those before stand: %v", err)
			time.AfterFunc(retryAfter, tell)
			continue
		}
		last = rules
		if err := os.WriteFile(*ready, nil, 0o644); err != nil {
			return err
		}
		log.Printf("enforced: %d policies on %d pods", len(state.policies), len(state.pods))
	}
}

func onNode(node string) func(*listOptions) {
	return func(options *listOptions) {
		options.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", node).String()
	}
}

// apply replaces our chains in one transaction, and makes the built-in ones lead to them.
func apply(rules string) error {
	restore := exec.Command("iptables-restore", "--wait", "--noflush")
	restore.Stdin = bytes.NewBufferString(rules)
	if said, err := restore.CombinedOutput(); err != nil {
		return fmt.Errorf("iptables-restore: %w: %s\n%s", err, said, rules)
	}
	for _, builtin := range []string{"FORWARD", "INPUT"} {
		jump := []string{builtin, "-j", chainPolicy}
		check := exec.Command("iptables", append([]string{"--wait", "-C"}, jump...)...)
		check.Stderr = io.Discard
		var missing *exec.ExitError
		if err := check.Run(); err == nil {
			continue
		} else if !errors.As(err, &missing) {
			return err
		}
		insert := exec.Command("iptables", append([]string{"--wait", "-I"}, jump...)...)
		if said, err := insert.CombinedOutput(); err != nil {
			return fmt.Errorf("iptables -I %s: %w: %s", builtin, err, said)
		}
	}
	return nil
}

// gather is what counts now: pods with an address of their own that have not ended.
func gather(namespaces namespaceLister, pods podLister, policies policyLister) (*state, error) {
	found := &state{labels: map[string]labels.Set{}}
	everyNamespace, err := namespaces.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	for _, namespace := range everyNamespace {
		found.labels[namespace.Name] = namespace.Labels
	}
	everyPod, err := pods.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	for _, pod := range everyPod {
		ended := pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed
		if pod.Status.PodIP != "" && !pod.Spec.HostNetwork && !ended {
			found.pods = append(found.pods, pod)
		}
	}
	found.policies, err = policies.List(labels.Everything())
	found.sort()
	return found, err
}
