//go:build tools

// Package tools names what is built from this go.mod: `make tools` puts Jaeger into .tools/bin.
package tools

import _ "github.com/jaegertracing/jaeger/cmd/jaeger"
