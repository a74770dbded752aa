#!/bin/sh
# Makes the certificates of these tests anew: an authority, a server and a client that it has signed, a client that it has not, and
# lists of revoked certificates.
set -eu
cd "$(dirname "$0")"
key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1.key"; }
authority() { # name, what else it may sign
    key "$1"
    openssl req -x509 -key "$1.key" -subj "/CN=$1" -days 36500 -out "$1.pem" -addext "keyUsage=keyCertSign${2:-}"
}
signed() { # name, authority, extensions, days
    key "$1"
    openssl req -new -key "$1.key" -subj "/O=finwait/CN=$1" -out request.csr
    printf '%b\n' "$3" > extensions
    openssl x509 -req -in request.csr -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days "${4:-36500}" -extfile extensions -out "$1.pem"
    rm request.csr extensions
}
authority authority
authority stranger
signed server authority 'subjectAltName=DNS:server.test,DNS:*.wild.test,IP:127.0.0.1'
# Its key with the password `secret`, in the forms that are read and in two that are not.
encrypted() { openssl pkcs8 -topk8 -in server.key -passout pass:secret -out "server-$1.key" $2; }
encrypted aes ''
encrypted 3des '-v2 des3 -v2prf hmacWithSHA1'
encrypted scrypt '-scrypt -scrypt_N 1024'
encrypted pbes1 '-v1 PBE-SHA1-3DES'
openssl ec -in server.key -aes128 -passout pass:secret -out server-older.key
signed renewed authority 'subjectAltName=DNS:server.test,DNS:*.wild.test,IP:127.0.0.1'
signed expired authority 'subjectAltName=DNS:server.test' -1
signed other authority 'subjectAltName=DNS:other.test'
signed client authority 'extendedKeyUsage=clientAuth\nsubjectAltName=DNS:client.test,URI:spiffe://test/client'
signed foreigner stranger 'basicConstraints=CA:FALSE'
# A key of session tickets.
openssl rand -out ticket.key 80
# A certificate that says that a response of OCSP must go with it.
signed must authority 'subjectAltName=DNS:server.test\ntlsfeature=status_request'
# Responses of OCSP: `server.ocsp` and `must.ocsp` are of use for long, `late.ocsp` has expired, `endless.ocsp` has no end.
: > index
responded() { # certificate, response, how long it is of use
    serial=$(openssl x509 -in "$1.pem" -noout -serial | cut -d= -f2)
    printf 'V\t21250101000000Z\t\t%s\tunknown\t/CN=%s\n' "$serial" "$1" > index
    openssl ocsp -issuer authority.pem -cert "$1.pem" -reqout request.der -no_nonce
    openssl ocsp -index index -CA authority.pem -rsigner authority.pem -rkey authority.key -reqin request.der $3 -respout "$2.ocsp"
    rm request.der
}
responded server server '-ndays 36000'
responded must must '-ndays 36000'
responded server endless ''
responded server late '-nmin 1'
rm -f index*
# An authority with lists of what it has revoked: `before.crl` is empty, `after.crl` has one certificate, `late.crl` has expired.
authority lister ,cRLSign
signed kept lister 'extendedKeyUsage=clientAuth,serverAuth'
signed revoked lister 'extendedKeyUsage=clientAuth,serverAuth'
: > index
echo 01 > number
printf '[ca]\ndefault_ca=one\n[one]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\nunique_subject=no\n' > ca.conf
lister() { openssl ca -config ca.conf -cert lister.pem -keyfile lister.key "$@"; }
lister -gencrl -crldays 36500 -out before.crl
lister -revoke revoked.pem
lister -gencrl -crldays 36500 -out after.crl
lister -gencrl -crl_lastupdate 20200101000000Z -crl_nextupdate 20200102000000Z -out late.crl
rm -f ca.conf index* number* lister.key
# An authority whose client was valid in 2020 alone.
authority former
key lapsed
openssl req -new -key lapsed.key -subj "/O=finwait/CN=lapsed" -out request.csr
: > index
echo 01 > number
printf '[ca]\ndefault_ca=one\n[one]\ndatabase=index\nserial=number\ndefault_md=sha256\nnew_certs_dir=.\npolicy=any\n[any]\ncommonName=supplied\n[end]\nbasicConstraints=CA:FALSE\n' > ca.conf
openssl ca -batch -notext -config ca.conf -extensions end -cert former.pem -keyfile former.key -in request.csr -startdate 20200101000000Z -enddate 20210101000000Z -out lapsed.pem
rm -f ca.conf index* number* request.csr 01.pem former.key
rm -f authority.key stranger.key ./*.srl
