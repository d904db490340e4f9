// Judge says, by the policy matcher of github.com/mattfenwick/cyclonus, what NetworkPolicies allow.
//
// One question as JSON on each line of standard input; one answer on each line of standard output: for every
// pod and for ingress, then egress, a string of 0 and 1 over all others and, within each, all traffic.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
	"strings"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// Party is a pod, or without a namespace an address outside the cluster.
type Party struct {
	IP              string
	Namespace       string
	NamespaceLabels map[string]string
	Labels          map[string]string
	Ports           []NamedPort
}

type NamedPort struct {
	Name     string
	Protocol string
	Port     int
}

type Traffic struct {
	Protocol string
	Port     int
}

type Question struct {
	Policies []*networkingv1.NetworkPolicy
	Pods     []Party
	Others   []Party
	Traffic  []Traffic
}

func (p Party) peer() *matcher.TrafficPeer {
	peer := &matcher.TrafficPeer{IP: p.IP}
	if p.Namespace != "" {
		peer.Internal = &matcher.InternalPeer{
			PodLabels: p.Labels, NamespaceLabels: p.NamespaceLabels, Namespace: p.Namespace,
		}
	}
	return peer
}

func (p Party) nameOf(traffic Traffic) string {
	for _, port := range p.Ports {
		if port.Protocol == traffic.Protocol && port.Port == traffic.Port {
			return port.Name
		}
	}
	return ""
}

func answer(question Question) []string {
	policy := matcher.BuildNetworkPolicies(false, question.Policies)
	var answers []string
	for _, pod := range question.Pods {
		for _, ingress := range []bool{true, false} {
			var bits strings.Builder
			for _, other := range question.Others {
				source, destination := pod, other
				if ingress {
					source, destination = other, pod
				}
				for _, traffic := range question.Traffic {
					result := policy.IsIngressOrEgressAllowed(&matcher.Traffic{
						Source:           source.peer(),
						Destination:      destination.peer(),
						ResolvedPort:     traffic.Port,
						ResolvedPortName: destination.nameOf(traffic),
						Protocol:         corev1.Protocol(traffic.Protocol),
					}, ingress)
					if result.IsAllowed() {
						bits.WriteByte('1')
					} else {
						bits.WriteByte('0')
					}
				}
			}
			answers = append(answers, bits.String())
		}
	}
	return answers
}

func main() {
	questions := bufio.NewReader(os.Stdin)
	decoder, encoder := json.NewDecoder(questions), json.NewEncoder(os.Stdout)
	for decoder.More() {
		var question Question
		if err := decoder.Decode(&question); err != nil {
			log.Fatalf("judge: the question is not understood: %v", err)
		}
		if err := encoder.Encode(answer(question)); err != nil {
			log.Fatalf("judge: the answer cannot be written: %v", err)
		}
	}
}
