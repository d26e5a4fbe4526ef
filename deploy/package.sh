#!/usr/bin/env bash
# Make the packages of thor for each architecture, deb and rpm, and of the Python package
# python3-thor, deb: just packages. The version is the newest tag v1.2.3, with the commits
# since, or 0.0.0~dev. ARCHS and FORMATS leave some out.
set -euo pipefail
cd "$(dirname "$0")/.."
nfpm=${NFPM:-nfpm}
read -ra archs <<<"${ARCHS:-amd64 arm64}"
read -ra formats <<<"${FORMATS:-deb rpm}"

tag=$(git describe --tags --match 'v[0-9]*' 2>/dev/null || true)
VERSION=$(sed -E 's/^v//; s/-([0-9]+)-g([0-9a-f]+)$/+\1.g\2/' <<<"${tag:-v0.0.0~dev}")
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export VERSION SOURCE_DATE_EPOCH GOOS=linux CGO_ENABLED=0

out=dist/package
rm -rf "$out"
mkdir -p "$out/man"
go run -tags man ./cmd/thor man "$out/man" deploy/thor.7.md
rm -f "$out"/man/thor-completion*
gzip -9n "$out"/man/*
go build -trimpath -o "$out/thor" ./cmd/thor # of this machine, for what it prints
for to in bash:thor.bash zsh:_thor fish:thor.fish powershell:thor.ps1; do
	"$out/thor" completion "${to%%:*}" >"$out/${to#*:}"
done

{
	printf 'thor (%s) unstable; urgency=medium\n\n' "$VERSION"
	printf '  * What an operator notices is in /usr/share/doc/thor/CHANGELOG.md.\n\n'
	printf ' -- thor developers <thor@localhost>  %s\n' "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$out/changelog.gz"

# The licences of all that is linked into the binary, from the modules themselves.
{
	printf 'thor is the work of the thor developers'
	if [[ -f LICENSE ]]; then printf ':\n\n%s\n' "$(<LICENSE)"; else printf '. No licence for it is given yet.\n'; fi
} >"$out/copyright.python"
{
	cat "$out/copyright.python"
	printf '\nThe program holds parts of these modules, under their own licences:\n'
	go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/thor | sort -u |
		while read -r path version dir; do
			printf '\n======== %s %s\n\n' "$path" "$version"
			found=
			for f in "$dir"/LICEN[SC]E* "$dir"/COPYING* "$dir"/NOTICE*; do
				if [[ -f $f ]]; then
					found=1
					cat "$f"
				fi
			done
			[[ -n $found ]] || { echo "$path has no licence file" >&2 && exit 1; }
		done
	printf '\n======== the Go standard library and runtime\n\n'
	cat "$(go env GOROOT)/LICENSE"
} >"$out/copyright"

rm -f dist/thor_*.deb dist/thor-*.rpm dist/python3-thor_*.deb
declare -A rpm_arch=([amd64]=x86_64 [arm64]=aarch64)
for GOARCH in "${archs[@]}"; do
	export GOARCH
	go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o "$out/$GOARCH/thor" ./cmd/thor
	for format in "${formats[@]}"; do
		file=dist/thor_${VERSION}_$GOARCH.deb
		[[ $format == deb ]] || file=dist/thor-$VERSION-1.${rpm_arch[$GOARCH]}.rpm
		"$nfpm" package --config deploy/nfpm.yaml --packager "$format" --target "$file" >&2
		echo "$file"
	done
done
"$nfpm" package --config deploy/nfpm-python.yaml --packager deb --target "dist/python3-thor_${VERSION}_all.deb" >&2
echo "dist/python3-thor_${VERSION}_all.deb"
