// Judge says, by sigs.k8s.io/cli-utils/pkg/kstatus, what tools that know kstatus take objects for.
//
// One object as JSON on each line of standard input; its kstatus on each line of standard output.
package main

import (
	"bufio"
	"fmt"
	"log"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(line); err != nil {
			log.Fatalf("judge: the object is not understood: %v", err)
		}
		result, err := status.Compute(&object)
		if err != nil {
			log.Fatalf("judge: %s %s has no kstatus: %v", object.GetKind(), object.GetName(), err)
		}
		fmt.Println(result.Status)
	}
}
