package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// runMachine makes what the node runs in: PID, mount, network, IPC and UTS namespaces whose first process is
// `init`. They last as long as it does: when it ends, however that went, the kernel kills every
// process in them, and with the last one the mounts and the network interfaces are gone.
//
//	machine DIRECTORY    DIRECTORY/init.pid gets the id that init has outside
func runMachine() error {
	if len(os.Args) != 2 {
		return errors.New("usage: node machine DIRECTORY")
	}
	directory := os.Args[1]
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// The kernel sends Pdeathsig when the thread ends that started the child, not the process.
	runtime.LockOSThread()
	child := exec.Command(self, "init", directory)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  unix.SIGKILL,
	}
	if err := child.Start(); err != nil {
		return fmt.Errorf("new namespaces: %w", err)
	}
	go func() {
		<-signals
		_ = child.Process.Kill()
	}()
	pid := strconv.Itoa(child.Process.Pid)
	if err := os.WriteFile(filepath.Join(directory, "init.pid"), []byte(pid), 0o644); err != nil {
		return errors.Join(err, child.Process.Kill())
	}
	return child.Wait()
}

// tunables are what the kubelet wants the kernel to be set to, and sets it to otherwise: for the whole machine, which
// is not ours. It is shown what it wants.
var tunables = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// runInit is the first process of the node's namespaces. It hides the places of the machine that a node
// writes to behind its own, shows DIRECTORY at /run/node, says so in DIRECTORY/mounted, and from
// then on buries the children of others.
func runInit() error {
	directory := os.Args[1]
	mounts := []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"node-logs", "/var/log", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV},
	}
	for _, one := range mounts {
		if err := unix.Mount(one.source, one.target, one.kind, one.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", one.target, err)
		}
	}
	// /run hides the directory when that is below it: hold it open over the change.
	held, err := unix.Open(directory, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	if err := unix.Mount("node-run", "/run", "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	for _, name := range []string{"/run/node", "/run/lock", "/run/netns", "/run/sysctl"} {
		if err := os.Mkdir(name, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", held), "/run/node", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount /run/node: %w", err)
	}
	for path, value := range tunables {
		shown := "/run/sysctl/" + filepath.Base(path)
		if err := os.WriteFile(shown, []byte(value+"\n"), 0o444); err != nil {
			return err
		}
		if err := unix.Mount(shown, "/proc/sys/"+path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount /proc/sys/%s: %w", path, err)
		}
	}
	// Volumes are mounted by the kubelet and have to show up in what containerd gives to containers.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts: %w", err)
	}
	if err := os.WriteFile("/run/node/mounted", nil, 0o644); err != nil {
		return err
	}
	children := make(chan os.Signal, 16)
	signal.Notify(children, unix.SIGCHLD)
	for range children {
		for {
			buried, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if buried <= 0 || (err != nil && !errors.Is(err, unix.EINTR)) {
				break
			}
		}
	}
	return nil
}
