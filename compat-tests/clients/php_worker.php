#!/usr/bin/env php
<?php
// Acks with what PHP has by itself, and becomes the program that is named, or waits until it is told to go. Plain PHP cannot
// accept on an inherited descriptor; that it has one is looked at. EINHORN_FDS is what einhorn had before version 1.

if (getenv('EINHORN_MASTER_PID') !== (string) posix_getppid()) {
    fwrite(STDERR, "the master is not the parent\n");
    exit(1);
}

$note = fopen('workers/' . getmypid(), 'a');
pcntl_async_signals(true);
pcntl_signal(SIGUSR2, function () use ($note) {
    fwrite($note, "USR2\n");
    exit(0);
});

$numbers = [];
for ($index = 0; $index < (int) getenv('EINHORN_FD_COUNT'); $index++) {
    $numbers[] = getenv("EINHORN_FD_$index");
}
if (getenv('EINHORN_FDS') !== false) {
    $numbers = explode(' ', getenv('EINHORN_FDS'));
}
foreach ($numbers as $number) {
    fwrite($note, explode(':', readlink("/proc/self/fd/$number"))[0] . "\n");
}

$master = stream_socket_client('unix://' . getenv('EINHORN_SOCK_PATH'));
fwrite($master, json_encode(['command' => 'worker:ack', 'pid' => getmypid()]) . "\n");
fclose($master);

if (isset($argv[1])) {
    pcntl_exec($argv[1]);
}
while (true) {
    sleep(3600);
}
