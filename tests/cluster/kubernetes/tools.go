//go:build tools

// Package tools pins the programs of a Kubernetes that tests run: `go build` takes them from here.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
