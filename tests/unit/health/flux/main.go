// Flux says, by the evaluator of its kustomize-controller, what the healthCheckExprs of a Kustomization take
// objects for.
//
// The expressions as JSON in the first argument. One object as JSON on each line of standard input; what it is
// taken for on each line of standard output.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func main() {
	var expressions kustomize.HealthCheckExpressions
	if err := json.Unmarshal([]byte(os.Args[1]), &expressions); err != nil {
		log.Fatalf("flux: the expressions are not understood: %v", err)
	}
	evaluator, err := cel.NewStatusEvaluator(&expressions)
	if err != nil {
		log.Fatalf("flux: the expressions are refused: %v", err)
	}
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(line); err != nil {
			log.Fatalf("flux: the object is not understood: %v", err)
		}
		result, err := evaluator.Evaluate(context.Background(), &object)
		if err != nil {
			log.Fatalf("flux: %s %s has no health: %v", object.GetKind(), object.GetName(), err)
		}
		fmt.Println(result.Status)
	}
}
