#!/bin/sh
# Collects the files of the image: image-root.sh BUILT ROOT, where BUILT has the program and its list of components.
set -eu
built=$1 root=$2

install -D -m 0755 -t "$root/usr/local/bin" "$built/mintgate"
# By the path at which the program, or the loader, looks for each library.
ldd "$built/mintgate" | awk '$2 == "=>" { print $3 } $1 ~ "^/" { print $1 }' | while read -r library; do
    install -D -m 0755 "$(readlink -f "$library")" "$root$library"
done
install -D -m 0644 -t "$root/etc/ssl/certs" /etc/ssl/certs/ca-certificates.crt
# The C library looks names up by itself, in these two places.
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"

# What of Debian is in the image, behind what is in the program.
component() {
    printf '    {"type":"library","bom-ref":"deb-%s","name":"%s","version":"%s","purl":"pkg:deb/debian/%s@%s"},\n' \
        "$1" "$2" "$3" "$1" "$3"
}
install -d "$root/usr/share/mintgate"
{
    sed '/"components": \[/q' "$built/sbom.cdx.json"
    component libc6 glibc "$(dpkg-query -W -f '${Version}' libc6)"
    component libgcc-s1 libgcc "$(dpkg-query -W -f '${Version}' libgcc-s1)"
    component ca-certificates ca-certificates "$(dpkg-query -W -f '${Version}' ca-certificates)"
    sed '1,/"components": \[/d' "$built/sbom.cdx.json"
} > "$root/usr/share/mintgate/sbom.cdx.json"

# Writable for every user of the group 0, whichever number the platform gives the process.
install -d -m 0770 "$root/var/lib/mintgate"
find "$root" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
