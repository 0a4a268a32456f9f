# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_opentop_global_optspecs
    string join \n f/filter= cast= cast-size= keys= c/capture= p/pid= u/user= x/failed stacks duration= attach= ring-size= process-rows= scope-rows= probe-log= probe-log-level= keep-privileges r/read= w/write= overwrite rotate= theme= layout= history= interval= no-color ascii= no-mouse= h/help V/version
end

function __fish_opentop_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_opentop_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_opentop_using_subcommand
    set -l cmd (__fish_opentop_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c opentop -n "__fish_opentop_needs_command" -s f -l filter -d 'Show only opens that match, as in \'comm:nginx err:ENOENT\' or \'path:/etc/** !pid:1\'; the rest is counted' -r
complete -c opentop -n "__fish_opentop_needs_command" -l cast -d 'Write the dashboard as an asciicast v3, for `asciinema play`; never what is typed' -r -F
complete -c opentop -n "__fish_opentop_needs_command" -l cast-size -d 'Size of the cast, columns and rows [default: the terminal\'s, else 100x34]; keeps the dashboard off the terminal' -r
complete -c opentop -n "__fish_opentop_needs_command" -l keys -d 'Drive the dashboard by a script, as in \'wait 1s; type /; type comm:make; key Enter; wait 2s; key q\'' -r
complete -c opentop -n "__fish_opentop_needs_command" -s c -l capture -d 'Capture only opens that match, decided in the kernel: \'comm:nginx failed\', \'path:/etc/** flags:w\'; the rest is not even counted' -r
complete -c opentop -n "__fish_opentop_needs_command" -s p -l pid -d 'Capture only these processes and their descendants; repeat it or separate them with commas' -r
complete -c opentop -n "__fish_opentop_needs_command" -s u -l user -d 'Capture only opens by this user, a name or a number' -r -f -a "(__fish_complete_users)"
complete -c opentop -n "__fish_opentop_needs_command" -l duration -d 'End after this long: 10s, 500ms, 2m, 1h30m; a bare number is seconds' -r
complete -c opentop -n "__fish_opentop_needs_command" -l attach -d 'How to hang into the kernel; auto takes the first that works' -r -f -a "auto\t'The first of the others that works here'
kprobe\t'kprobe and kretprobe: every way of opening, kernels with kprobes'
fentry\t'fentry and fexit: every way of opening, kernels with BPF trampolines'
tracepoint\t'System call tracepoints: nearly every kernel, but no `io_uring`'"
complete -c opentop -n "__fish_opentop_needs_command" -l ring-size -d 'Size of the ring between kernel and opentop: 64K, 8M; rounded up to a power of two' -r
complete -c opentop -n "__fish_opentop_needs_command" -l process-rows -d 'Rows of the kernel\'s table of processes: for tests of what happens when it is full' -r
complete -c opentop -n "__fish_opentop_needs_command" -l scope-rows -d 'Rows of the kernel\'s table of captured processes: for tests of what happens when it is full' -r
complete -c opentop -n "__fish_opentop_needs_command" -l probe-log -d 'Write the probe\'s own log lines, on what it could not see or hand over, to this file; free when not given' -r -F
complete -c opentop -n "__fish_opentop_needs_command" -l probe-log-level -d 'How much the probe logs' -r -f -a "error\t'What should never happen'
warn\t'Opens that were lost or cannot be paired, by thread'
info\t'The same as warn, so far'
debug\t'Every open that is incomplete as well: its name unreadable, its entry not seen, the ring full'
trace\t'The same as debug, so far'"
complete -c opentop -n "__fish_opentop_needs_command" -s r -l read -d 'Replay this recording instead of capturing: needs no root, on any machine; - is stdin, `sample` comes with opentop' -r -F
complete -c opentop -n "__fish_opentop_needs_command" -s w -l write -d 'Record all that is captured to this file, for -r; under sudo it belongs to the user who called sudo' -r -F
complete -c opentop -n "__fish_opentop_needs_command" -l rotate -d 'With -w: go on in a new numbered file after a size (64M, 2G) or a time (10m, 1h)' -r
complete -c opentop -n "__fish_opentop_needs_command" -l theme -d 'Colours of the dashboard; T goes through them' -r -f -a "dark\t'For a dark terminal'
light\t'For a light one'
high-contrast\t'Strong contrast on black'
catppuccin\t'Catppuccin Mocha'
terminal\t'Only the sixteen colours that the terminal defines'"
complete -c opentop -n "__fish_opentop_needs_command" -l layout -d 'How processes and opens stand: side by side, or stacked' -r -f -a "auto\t'Side by side where there is room'
side\t'Side by side'
stacked\t'Processes above opens'"
complete -c opentop -n "__fish_opentop_needs_command" -l history -d 'How many opens to keep for looking back at: 1 to 10000000' -r
complete -c opentop -n "__fish_opentop_needs_command" -l interval -d 'How often rates and the order of rows are brought up to date: 100ms to 60s' -r
complete -c opentop -n "__fish_opentop_needs_command" -l ascii -d 'Borders and bars of the dashboard in ASCII only' -r -f -a "true\t''
false\t''"
complete -c opentop -n "__fish_opentop_needs_command" -l no-mouse -d 'Leave the mouse to the terminal, for selecting text' -r -f -a "true\t''
false\t''"
complete -c opentop -n "__fish_opentop_needs_command" -s x -l failed -d 'Capture only opens that failed'
complete -c opentop -n "__fish_opentop_needs_command" -l stacks -d 'Take the user\'s and the kernel\'s stack of every open, with names: who in the program, by which way'
complete -c opentop -n "__fish_opentop_needs_command" -l keep-privileges -d 'Keep the privileges that are given up once the probe is attached, and use every system call; for debugging'
complete -c opentop -n "__fish_opentop_needs_command" -l overwrite -d 'With -w: replace the file if it exists'
complete -c opentop -n "__fish_opentop_needs_command" -l no-color -d 'No colours, as with NO_COLOR in the environment'
complete -c opentop -n "__fish_opentop_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c opentop -n "__fish_opentop_needs_command" -s V -l version -d 'Print version'
complete -c opentop -n "__fish_opentop_needs_command" -a "trace" -d 'One line for each open: text, JSON, CSV, or a row of Parquet'
complete -c opentop -n "__fish_opentop_needs_command" -a "summary" -d 'The exact table of processes when the capture ends: opens, failures, latency, most opened paths'
complete -c opentop -n "__fish_opentop_needs_command" -a "doctor" -d 'What this kernel and these privileges allow, and the exact command for what they don\'t'
complete -c opentop -n "__fish_opentop_needs_command" -a "config" -d 'Write the configuration with every default and where it belongs to stdout'
complete -c opentop -n "__fish_opentop_needs_command" -a "completions" -d 'Write completions for a shell to stdout'
complete -c opentop -n "__fish_opentop_needs_command" -a "man" -d 'Write a manual page to stdout, for `man -l`'
complete -c opentop -n "__fish_opentop_using_subcommand trace" -l format -d 'Lines for people or programs, or a Parquet file' -r -f -a "text\t'Aligned columns for people'
json\t'One JSON object per line'
csv\t'RFC 4180 with a header row'
parquet\t'Apache Parquet, to be queried: whole once opentop has ended'"
complete -c opentop -n "__fish_opentop_using_subcommand trace" -s o -l output -d 'Write to this file instead of stdout; under sudo it belongs to the user who called sudo' -r -F
complete -c opentop -n "__fish_opentop_using_subcommand trace" -s f -l filter -d 'Show only opens that match, as in \'comm:nginx err:ENOENT\' or \'path:/etc/** !pid:1\'; the rest is counted' -r
complete -c opentop -n "__fish_opentop_using_subcommand trace" -s c -l capture -d 'Capture only opens that match, decided in the kernel: \'comm:nginx failed\', \'path:/etc/** flags:w\'; the rest is not even counted' -r
complete -c opentop -n "__fish_opentop_using_subcommand trace" -s p -l pid -d 'Capture only these processes and their descendants; repeat it or separate them with commas' -r
complete -c opentop -n "__fish_opentop_using_subcommand trace" -s u -l user -d 'Capture only opens by this user, a name or a number' -r -f -a "(__fish_complete_users)"
complete -c opentop -n "__fish_opentop_using_subcommand trace" -l duration -d 'End after this long: 10s, 500ms, 2m, 1h30m; a bare number is seconds' -r
complete -c opentop -n "__fish_opentop_using_subcommand trace" -l attach -d 'How to hang into the kernel; auto takes the first that works' -r -f -a "auto\t'The first of the others that works here'
kprobe\t'kprobe and kretprobe: every way of opening, kernels with kprobes'
fentry\t'fentry and fexit: every way of opening, kernels with BPF trampolines'
tracepoint\t'System call tracepoints: nearly every kernel, but no `io_uring`'"
complete -c opentop -n "__fish_opentop_using_subcommand trace" -l ring-size -d 'Size of the ring between kernel and opentop: 64K, 8M; rounded up to a power of two' -r
complete -c opentop -n "__fish_opentop_using_subcommand trace" -l process-rows -d 'Rows of the kernel\'s table of processes: for tests of what happens when it is full' -r
complete -c opentop -n "__fish_opentop_using_subcommand trace" -l scope-rows -d 'Rows of the kernel\'s table of captured processes: for tests of what happens when it is full' -r
complete -c opentop -n "__fish_opentop_using_subcommand trace" -l probe-log -d 'Write the probe\'s own log lines, on what it could not see or hand over, to this file; free when not given' -r -F
complete -c opentop -n "__fish_opentop_using_subcommand trace" -l probe-log-level -d 'How much the probe logs' -r -f -a "error\t'What should never happen'
warn\t'Opens that were lost or cannot be paired, by thread'
info\t'The same as warn, so far'
debug\t'Every open that is incomplete as well: its name unreadable, its entry not seen, the ring full'
trace\t'The same as debug, so far'"
complete -c opentop -n "__fish_opentop_using_subcommand trace" -s r -l read -d 'Replay this recording instead of capturing: needs no root, on any machine; - is stdin, `sample` comes with opentop' -r -F
complete -c opentop -n "__fish_opentop_using_subcommand trace" -s w -l write -d 'Record all that is captured to this file, for -r; under sudo it belongs to the user who called sudo' -r -F
complete -c opentop -n "__fish_opentop_using_subcommand trace" -l rotate -d 'With -w: go on in a new numbered file after a size (64M, 2G) or a time (10m, 1h)' -r
complete -c opentop -n "__fish_opentop_using_subcommand trace" -s x -l failed -d 'Capture only opens that failed'
complete -c opentop -n "__fish_opentop_using_subcommand trace" -l stacks -d 'Take the user\'s and the kernel\'s stack of every open, with names: who in the program, by which way'
complete -c opentop -n "__fish_opentop_using_subcommand trace" -l keep-privileges -d 'Keep the privileges that are given up once the probe is attached, and use every system call; for debugging'
complete -c opentop -n "__fish_opentop_using_subcommand trace" -l overwrite -d 'With -w: replace the file if it exists'
complete -c opentop -n "__fish_opentop_using_subcommand trace" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c opentop -n "__fish_opentop_using_subcommand summary" -l format -d 'The table\'s format' -r -f -a "text\t'Aligned columns for people'
json\t'One JSON object per line'
csv\t'RFC 4180 with a header row'"
complete -c opentop -n "__fish_opentop_using_subcommand summary" -s o -l output -d 'Write to this file instead of stdout; under sudo it belongs to the user who called sudo' -r -F
complete -c opentop -n "__fish_opentop_using_subcommand summary" -l sort -d 'What the table is sorted by' -r -f -a "opens\t'Opens'
failed\t'Failures'
time\t'Time spent in opens'
p99\t'99th percentile of the latency'
max\t'Longest open'
pid\t'Process'
comm\t'Name'"
complete -c opentop -n "__fish_opentop_using_subcommand summary" -l top -d 'Show only so many processes; the others share a row' -r
complete -c opentop -n "__fish_opentop_using_subcommand summary" -s f -l filter -d 'Show only opens that match, as in \'comm:nginx err:ENOENT\' or \'path:/etc/** !pid:1\'; the rest is counted' -r
complete -c opentop -n "__fish_opentop_using_subcommand summary" -s c -l capture -d 'Capture only opens that match, decided in the kernel: \'comm:nginx failed\', \'path:/etc/** flags:w\'; the rest is not even counted' -r
complete -c opentop -n "__fish_opentop_using_subcommand summary" -s p -l pid -d 'Capture only these processes and their descendants; repeat it or separate them with commas' -r
complete -c opentop -n "__fish_opentop_using_subcommand summary" -s u -l user -d 'Capture only opens by this user, a name or a number' -r -f -a "(__fish_complete_users)"
complete -c opentop -n "__fish_opentop_using_subcommand summary" -l duration -d 'End after this long: 10s, 500ms, 2m, 1h30m; a bare number is seconds' -r
complete -c opentop -n "__fish_opentop_using_subcommand summary" -l attach -d 'How to hang into the kernel; auto takes the first that works' -r -f -a "auto\t'The first of the others that works here'
kprobe\t'kprobe and kretprobe: every way of opening, kernels with kprobes'
fentry\t'fentry and fexit: every way of opening, kernels with BPF trampolines'
tracepoint\t'System call tracepoints: nearly every kernel, but no `io_uring`'"
complete -c opentop -n "__fish_opentop_using_subcommand summary" -l ring-size -d 'Size of the ring between kernel and opentop: 64K, 8M; rounded up to a power of two' -r
complete -c opentop -n "__fish_opentop_using_subcommand summary" -l process-rows -d 'Rows of the kernel\'s table of processes: for tests of what happens when it is full' -r
complete -c opentop -n "__fish_opentop_using_subcommand summary" -l scope-rows -d 'Rows of the kernel\'s table of captured processes: for tests of what happens when it is full' -r
complete -c opentop -n "__fish_opentop_using_subcommand summary" -l probe-log -d 'Write the probe\'s own log lines, on what it could not see or hand over, to this file; free when not given' -r -F
complete -c opentop -n "__fish_opentop_using_subcommand summary" -l probe-log-level -d 'How much the probe logs' -r -f -a "error\t'What should never happen'
warn\t'Opens that were lost or cannot be paired, by thread'
info\t'The same as warn, so far'
debug\t'Every open that is incomplete as well: its name unreadable, its entry not seen, the ring full'
trace\t'The same as debug, so far'"
complete -c opentop -n "__fish_opentop_using_subcommand summary" -s r -l read -d 'Replay this recording instead of capturing: needs no root, on any machine; - is stdin, `sample` comes with opentop' -r -F
complete -c opentop -n "__fish_opentop_using_subcommand summary" -s w -l write -d 'Record all that is captured to this file, for -r; under sudo it belongs to the user who called sudo' -r -F
complete -c opentop -n "__fish_opentop_using_subcommand summary" -l rotate -d 'With -w: go on in a new numbered file after a size (64M, 2G) or a time (10m, 1h)' -r
complete -c opentop -n "__fish_opentop_using_subcommand summary" -s x -l failed -d 'Capture only opens that failed'
complete -c opentop -n "__fish_opentop_using_subcommand summary" -l stacks -d 'Take the user\'s and the kernel\'s stack of every open, with names: who in the program, by which way'
complete -c opentop -n "__fish_opentop_using_subcommand summary" -l keep-privileges -d 'Keep the privileges that are given up once the probe is attached, and use every system call; for debugging'
complete -c opentop -n "__fish_opentop_using_subcommand summary" -l overwrite -d 'With -w: replace the file if it exists'
complete -c opentop -n "__fish_opentop_using_subcommand summary" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c opentop -n "__fish_opentop_using_subcommand doctor" -l format -d 'The report\'s format' -r -f -a "text\t'For people'
json\t'One JSON object'"
complete -c opentop -n "__fish_opentop_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c opentop -n "__fish_opentop_using_subcommand config" -s h -l help -d 'Print help'
complete -c opentop -n "__fish_opentop_using_subcommand completions" -s h -l help -d 'Print help'
complete -c opentop -n "__fish_opentop_using_subcommand man" -s h -l help -d 'Print help'
