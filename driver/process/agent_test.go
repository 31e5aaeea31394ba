// SPDX-License-Identifier: Apache-2.0

package process_test

func testAgent(args []string) {}
func testHost(args []string)  {}
