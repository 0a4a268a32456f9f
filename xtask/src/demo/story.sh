# The story of the sample recording. Its programs are compiled before it begins; what is compiled in it is recorded.
set -e
export PATH=/usr/local/bin:$PATH
mkdir -p /usr/local/bin /etc/gateway.d /srv/site /home/user/hello /var/lib
printf '127.0.0.1 localhost\n' >/etc/hosts
printf 'nameserver 192.0.2.1\n' >/etc/resolv.conf
printf 'passwd: files\n' >/etc/nsswitch.conf
for page in index about team news; do echo "<h1>$page</h1>" >/srv/site/$page.html; done
cd /tmp

# Looks for its configuration where such programs do, and tries again.
cat >gateway.c <<'C'
#include <stdio.h>
#include <unistd.h>
int main(void) {
    const char *places[] = {"/etc/gateway/gateway.toml", "/etc/gateway.d/gateway.toml", "/usr/local/etc/gateway.toml",
        "/home/user/.config/gateway/gateway.toml", "/home/user/.gateway.toml", "gateway.toml"};
    for (int try = 0; try < 40; try++) {
        for (int i = 0; i < 6; i++) {
            FILE *f = fopen(places[i], "r");
            if (f) return 0;
            usleep(20000);
        }
        usleep(500000);
    }
    return 1;
}
C
# Serves a few pages.
cat >pages.c <<'C'
#include <stdio.h>
#include <unistd.h>
int main(void) {
    const char *pages[] = {"index", "about", "team", "news"};
    char path[64];
    for (int n = 0; n < 500; n++) {
        sprintf(path, "/srv/site/%s.html", pages[n % 7 % 4]);
        FILE *f = fopen(path, "r");
        if (f) fclose(f);
        usleep(55000);
    }
    return 0;
}
C
# Asks for the same few files all the time.
cat >poller.c <<'C'
#include <stdio.h>
#include <unistd.h>
int main(void) {
    const char *files[] = {"/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/proc/loadavg", "/etc/host.conf"};
    for (int n = 0; n < 2000; n++) {
        FILE *f = fopen(files[n % 5], "r");
        if (f) fclose(f);
        usleep(n % 1000 < 500 ? 2500 : 7000);
    }
    return 0;
}
C
for program in gateway pages poller; do tcc -o /usr/local/bin/$program $program.c; done

cd /home/user/hello
for part in main list tree table text parse print time; do
    cat >$part.c <<C
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "hello.h"
int part_$part(void) { return (int)strlen("$part") + isalpha("$part"[0]); }
C
done
cat >hello.h <<'C'
int part_list(void); int part_tree(void); int part_table(void);
C
echo 'int main(void) { puts("hello"); return part_list() - 5; }' >>main.c
cat >Makefile <<'M'
parts = main list tree table text parse print time
hello: $(parts:%=%.o)
	tcc -o $@ $^
%.o: %.c hello.h
	tcc -c -o $@ $<
clean:
	rm -f *.o hello
M
chown -R user:user /home/user /srv/site

/bin/opentop trace --attach kprobe -w /out/sample.otop -o /dev/null &
opentop=$!
sleep 1.5
su user -s /bin/sh -c pages &
sleep 2
su user -s /bin/sh -c 'cd ~/hello && make' &
sleep 4
gateway || true &
sleep 3
poller &
sleep 9
su user -s /bin/sh -c 'cd ~/hello && make clean && make && ./hello' || true
sleep 3
kill -TERM $opentop
wait $opentop
