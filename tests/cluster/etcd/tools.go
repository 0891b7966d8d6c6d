//go:build tools

// Package tools pins the etcd that tests run: `go build` takes it from here.
package tools

import _ "go.etcd.io/etcd/server/v3"
