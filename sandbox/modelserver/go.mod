module stanch.dev/sandbox/modelserver

go 1.26.0
