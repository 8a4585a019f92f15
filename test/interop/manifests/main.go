// Reads what docker/ has as the real tools read it: the compose file by Docker Compose's own library, the Kubernetes directories by
// kustomize, each resource into the type of its API, where a field that the API does not have is an error. Prints it all as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(composeFile string, directories []string) error {
	compose, err := readCompose(composeFile)
	if err != nil {
		return fmt.Errorf("%s: %w", composeFile, err)
	}
	kubernetes := map[string][]any{}
	for _, directory := range directories {
		if kubernetes[directory], err = readKubernetes(directory); err != nil {
			return fmt.Errorf("%s: %w", directory, err)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"compose": compose, "kubernetes": kubernetes})
}

func readCompose(file string) (any, error) {
	options, err := cli.NewProjectOptions([]string{file}, cli.WithOsEnv, cli.WithProfiles([]string{"*"}))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}

func readKubernetes(directory string) ([]any, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), directory)
	if err != nil {
		return nil, err
	}
	types := map[string]func() any{
		"DaemonSet":             func() any { return &appsv1.DaemonSet{} },
		"Deployment":            func() any { return &appsv1.Deployment{} },
		"PersistentVolumeClaim": func() any { return &corev1.PersistentVolumeClaim{} },
		"Service":               func() any { return &corev1.Service{} },
	}
	var typed []any
	for _, resource := range resources.Resources() {
		make, known := types[resource.GetKind()]
		if !known {
			return nil, fmt.Errorf("%s %s: this kind is not known here", resource.GetKind(), resource.GetName())
		}
		text, err := resource.AsYAML()
		if err != nil {
			return nil, err
		}
		into := make()
		if err := yaml.UnmarshalStrict(text, into); err != nil {
			return nil, fmt.Errorf("%s %s: %w", resource.GetKind(), resource.GetName(), err)
		}
		typed = append(typed, into)
	}
	return typed, nil
}
