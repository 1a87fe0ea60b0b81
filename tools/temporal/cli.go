//go:build tools

// Package temporal names what is to be built.
package temporal

import _ "github.com/temporalio/cli/cmd/temporal"
