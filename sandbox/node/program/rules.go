package main

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
)

type (
	listOptions     = meta.ListOptions
	namespaceLister = corelisters.NamespaceLister
	podLister       = corelisters.PodLister
	policyLister    = networkinglisters.NetworkPolicyLister
)

const (
	chainPolicy  = "SANDBOX-POLICY"
	chainEgress  = "SANDBOX-EGRESS"
	chainIngress = "SANDBOX-INGRESS"
)

// state is what the rules follow from, and nothing else is.
type state struct {
	labels   map[string]labels.Set // of namespaces
	pods     []*core.Pod
	policies []*networking.NetworkPolicy
}

// sort makes equal states have equal rules.
func (s *state) sort() {
	slices.SortFunc(s.pods, func(a, b *core.Pod) int {
		return cmp.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	slices.SortFunc(s.policies, func(a, b *networking.NetworkPolicy) int {
		return cmp.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
}

// ruleset is what our chains hold.
type ruleset struct {
	text string
	own  []string // the chains of single pods
}

// after is the input of iptables-restore that puts these rules in the place of the last ones.
func (r ruleset) after(last ruleset) string {
	var gone strings.Builder
	for _, chain := range last.own {
		if !slices.Contains(r.own, chain) {
			fmt.Fprintf(&gone, "-F %s\n-X %s\n", chain, chain)
		}
	}
	return "*filter\n" + r.text + gone.String() + "COMMIT\n"
}

// ruleset sends each pod's traffic to a chain of its own. That chain is gone to, not called: RETURN in it leads on
// to the other direction's judgement.
func (s *state) ruleset(podCIDR string) ruleset {
	var chains, rules strings.Builder
	var owned []string
	for _, chain := range []string{chainPolicy, chainEgress, chainIngress} {
		fmt.Fprintf(&chains, ":%s - [0:0]\n", chain)
	}
	fmt.Fprintf(&rules, "-A %s -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN\n", chainPolicy)
	fmt.Fprintf(&rules, "-A %s -j %s\n-A %s -j %s\n", chainPolicy, chainEgress, chainPolicy, chainIngress)
	for _, way := range []direction{egress, ingress} {
		for _, pod := range s.pods {
			allowed, isolated := s.allowed(pod, way)
			if !isolated {
				fmt.Fprintf(&rules, "-A %s %s %s -j RETURN\n", way.chain, way.self, pod.Status.PodIP)
				continue
			}
			own := way.chain + "-" + short(pod)
			owned = append(owned, own)
			fmt.Fprintf(&chains, ":%s - [0:0]\n", own)
			fmt.Fprintf(&rules, "-A %s %s %s -g %s\n", way.chain, way.self, pod.Status.PodIP, own)
			for _, match := range allowed {
				fmt.Fprintf(&rules, "-A %s %s -j RETURN\n", own, match)
			}
			fmt.Fprintf(&rules, "-A %s -j DROP\n", own)
		}
		fmt.Fprintf(&rules, "-A %s %s %s -j DROP\n", way.chain, way.self, podCIDR)
	}
	return ruleset{chains.String() + rules.String(), owned}
}

// short names a pod in the 28 characters that iptables has for a chain.
func short(pod *core.Pod) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(pod.UID)))[:10]
}

type direction struct {
	chain, self, peer string // self, peer: the option that names the pod's, the other side's address
	kind              networking.PolicyType
}

var (
	egress  = direction{chainEgress, "-s", "-d", networking.PolicyTypeEgress}
	ingress = direction{chainIngress, "-d", "-s", networking.PolicyTypeIngress}
)

type rule struct {
	peers []networking.NetworkPolicyPeer
	ports []networking.NetworkPolicyPort
}

// allowed is the union over every policy that selects the pod, as matches of iptables; without a policy for this
// direction the pod is not isolated in it.
func (s *state) allowed(pod *core.Pod, way direction) (matches []string, isolated bool) {
	for _, policy := range s.policies {
		if policy.Namespace != pod.Namespace || !applies(policy, way.kind) ||
			!selects(&policy.Spec.PodSelector, pod.Labels) {
			continue
		}
		isolated = true
		for _, one := range rulesOf(policy, way.kind) {
			matches = append(matches, s.matches(policy.Namespace, one, pod, way)...)
		}
	}
	return matches, isolated
}

func applies(policy *networking.NetworkPolicy, kind networking.PolicyType) bool {
	if len(policy.Spec.PolicyTypes) == 0 {
		return kind == networking.PolicyTypeIngress || len(policy.Spec.Egress) > 0
	}
	return slices.Contains(policy.Spec.PolicyTypes, kind)
}

func rulesOf(policy *networking.NetworkPolicy, kind networking.PolicyType) []rule {
	var found []rule
	if kind == networking.PolicyTypeIngress {
		for _, one := range policy.Spec.Ingress {
			found = append(found, rule{one.From, one.Ports})
		}
	} else {
		for _, one := range policy.Spec.Egress {
			found = append(found, rule{one.To, one.Ports})
		}
	}
	return found
}

func (s *state) matches(namespace string, one rule, pod *core.Pod, way direction) []string {
	if len(one.peers) == 0 {
		return s.ports("", one.ports, receivers(way, pod, s.pods))
	}
	var found []string
	for _, peer := range one.peers {
		if peer.IPBlock != nil {
			for _, prefix := range outside(peer.IPBlock) {
				inside := s.inside(prefix)
				found = append(found, s.ports(way.peer+" "+prefix.String()+" ", one.ports,
					receivers(way, pod, inside))...)
			}
			continue
		}
		for _, other := range s.pods {
			if s.isPeer(namespace, &peer, other) {
				found = append(found, s.ports(way.peer+" "+other.Status.PodIP+" ", one.ports,
					receivers(way, pod, []*core.Pod{other}))...)
			}
		}
	}
	return found
}

// receivers are the pods whose named ports count: the receiving end's.
func receivers(way direction, pod *core.Pod, peers []*core.Pod) []*core.Pod {
	if way.kind == networking.PolicyTypeIngress {
		return []*core.Pod{pod}
	}
	return peers
}

func (s *state) isPeer(namespace string, peer *networking.NetworkPolicyPeer, other *core.Pod) bool {
	if peer.NamespaceSelector == nil {
		return other.Namespace == namespace && selects(peer.PodSelector, other.Labels)
	}
	return selects(peer.NamespaceSelector, s.labels[other.Namespace]) &&
		(peer.PodSelector == nil || selects(peer.PodSelector, other.Labels))
}

func (s *state) inside(prefix netip.Prefix) []*core.Pod {
	var found []*core.Pod
	for _, pod := range s.pods {
		if address, err := netip.ParseAddr(pod.Status.PodIP); err == nil && prefix.Contains(address) {
			found = append(found, pod)
		}
	}
	return found
}

// ports adds the ports to a peer's match; a named port is a port of a receiver, and only there.
func (s *state) ports(peer string, ports []networking.NetworkPolicyPort, receivers []*core.Pod) []string {
	if len(ports) == 0 {
		return []string{peer}
	}
	var found []string
	for _, port := range ports {
		protocol := core.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		match := peer + "-p " + strings.ToLower(string(protocol)) + " "
		switch {
		case port.Port == nil:
			found = append(found, match)
		case port.Port.StrVal != "":
			for _, receiver := range receivers {
				for _, number := range named(receiver, port.Port.StrVal, protocol) {
					found = append(found, fmt.Sprintf("%s-d %s --dport %d", withoutReceiver(match), receiver.Status.PodIP, number))
				}
			}
		case port.EndPort != nil:
			found = append(found, fmt.Sprintf("%s--dport %d:%d", match, port.Port.IntVal, *port.EndPort))
		default:
			found = append(found, fmt.Sprintf("%s--dport %d", match, port.Port.IntVal))
		}
	}
	return found
}

// withoutReceiver drops a match's `-d PREFIX`: the receiver is named more exactly, and iptables takes one.
func withoutReceiver(match string) string {
	if rest, cut := strings.CutPrefix(match, "-d "); cut {
		_, rest, _ = strings.Cut(rest, " ")
		return rest
	}
	return match
}

func named(pod *core.Pod, name string, protocol core.Protocol) []int32 {
	var found []int32
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == name && cmp.Or(port.Protocol, core.ProtocolTCP) == protocol {
				found = append(found, port.ContainerPort)
			}
		}
	}
	return found
}

// selects: the API server has validated every selector, one that does not parse selects nothing.
func selects(selector *meta.LabelSelector, set labels.Set) bool {
	parsed, err := meta.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(set)
}

// outside is a block less its exceptions, as prefixes; exceptions lie inside the block.
func outside(block *networking.IPBlock) []netip.Prefix {
	whole, err := netip.ParsePrefix(block.CIDR)
	if err != nil || !whole.Addr().Is4() {
		return nil
	}
	left := []netip.Prefix{whole.Masked()}
	for _, text := range block.Except {
		except, err := netip.ParsePrefix(text)
		if err != nil {
			continue
		}
		var next []netip.Prefix
		for _, prefix := range left {
			next = append(next, without(prefix, except.Masked())...)
		}
		left = next
	}
	return left
}

// without halves the prefix until every half is either inside the exception or apart from it.
func without(prefix, except netip.Prefix) []netip.Prefix {
	if !prefix.Overlaps(except) {
		return []netip.Prefix{prefix}
	}
	if prefix.Bits() >= except.Bits() {
		return nil
	}
	low := netip.PrefixFrom(prefix.Addr(), prefix.Bits()+1)
	bytes := prefix.Addr().As4()
	bytes[prefix.Bits()/8] |= 1 << (7 - prefix.Bits()%8)
	high := netip.PrefixFrom(netip.AddrFrom4(bytes), prefix.Bits()+1)
	return append(without(low, except), without(high, except)...)
}
