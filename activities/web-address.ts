/**
 * Which addresses a source on the web may lie at: public ones alone. A worker stands inside a network, and a page that names
 * an address of it must not read there.
 */
import ipaddr from 'ipaddr.js';

/** Why an address is not dialled; null where it is public. */
export function addressFault(address: string): string | null {
  if (!ipaddr.isValid(address)) return `found ${address}, expected an IP address`;
  // What the library takes as an address in old spellings is what a connection would take it for.
  const parsed = ipaddr.parse(address);
  const range = parsed.range();
  // Of Azure's hosts: a public address that leads to the machine's own metadata and keys.
  if (parsed.toNormalizedString() === '168.63.129.16')
    return `${address} is the host of a machine at Azure`;
  if (range !== 'unicast') return `${address} is no public address (${range})`;
  if (parsed.kind() === 'ipv6') {
    const { parts } = parsed as ipaddr.IPv6;
    if ((parts[0]! & 0xe000) !== 0x2000) return `${address} is no public address (not global)`;
    // 3fff::/20 is for documentation; an ISATAP interface holds an address of IPv4.
    if (parts[0] === 0x3fff && parts[1]! < 0x1000)
      return `${address} is no public address (documentation)`;
    if ((parts[4] === 0 || parts[4] === 0x200) && parts[5] === 0x5efe) {
      return `${address} is no public address (ISATAP)`;
    }
  }
  return null;
}

/** Why a URL is not asked for; null where it may be. Names are judged by the address that they lead to, when it is dialled. */
export function urlFault(text: string, { allowHttp = false } = {}): string | null {
  if (!URL.canParse(text)) return `found ${text}, expected a URL`;
  const url = new URL(text);
  if (url.protocol !== 'https:' && !(allowHttp && url.protocol === 'http:')) {
    return `found ${url.protocol}//, expected https://`;
  }
  if (url.username !== '' || url.password !== '')
    return 'found a password in the URL, expected none';
  const host = url.hostname.replaceAll(/^\[|\]$/g, '').replace(/\.$/, '');
  if (host === '') return 'found no host';
  // A URL parser has turned every spelling of an address of IPv4 into four numbers.
  if (ipaddr.isValid(host)) return addressFault(host);
  return host === 'localhost' || host.endsWith('.localhost') ? `${host} is this machine` : null;
}
