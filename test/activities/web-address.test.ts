import { describe, expect, test } from 'vitest';
import { addressFault, urlFault } from '../../activities/web-address.ts';
import { judged } from '../../activities/web-fetch.ts';
import { parseRobots } from '../../activities/web-robots.ts';

const refused = `
0.0.0.0 0.1.2.3 10.0.0.0 10.0.0.1 10.255.255.255 100.64.0.0 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.0 127.0.0.1
127.0.1.1 127.255.255.255 169.254.0.1 169.254.169.254 169.254.170.2 169.254.255.255 172.16.0.0 172.16.0.1 172.20.10.1
172.31.255.255 192.0.0.1 192.0.0.8 192.0.0.170 192.0.2.1 192.168.0.1 192.168.1.1 192.168.255.255 198.18.0.1 198.19.255.255
168.63.129.16
198.51.100.1 203.0.113.1 224.0.0.1 224.0.0.251 239.255.255.250 240.0.0.1 255.255.255.254 255.255.255.255
:: ::1 0:0:0:0:0:0:0:1 ::127.0.0.1 ::10.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:8.8.8.8
::ffff:7f00:1 0:0:0:0:0:ffff:7f00:1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::8.8.8.8
64:ff9b:1::1 64:ff9b:1::10.0.0.1 100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:10::1 2001:20::1 2001:db8::1
2002:7f00:1:: 2002:a00:1:: 2002:a9fe:a9fe::1 2002:808:808:: 3fff::1 3fff:fff:ffff::1 5f00::1 fc00::1 fc00:ec2::254 fd00::1
fd00:ec2::254 fdff:ffff::1 fe80::1 fe80::1%eth0 febf::1 fec0::1 feff::1 ff00::1 ff02::1 ff02::fb ff0e::1
2600:1f18::5efe:a00:1 2600:1f18::200:5efe:7f00:1 4000::1 8000::1 e000::1`
  .trim()
  .split(/\s+/);

const spellings = `
https://127.0.0.1/ https://127.1/ https://127.0.1/ https://2130706433/ https://0x7f000001/ https://0x7f.1/ https://0x7F.0x0.0x0.0x1/
https://017700000001/ https://0177.0.0.1/ https://0177.0x0.1/ https://127.0.0.1./ https://0/ https://0.0.0.0/ https://10.1/
https://0xa.0.0.1/ https://012.0.0.1/ https://167772161/ https://169.254.169.254/latest/meta-data/ https://0xa9fea9fe/
https://2852039166/ https://0251.0376.0251.0376/ https://169.16689662/ https://3232235777/ https://0300.0250.1.1/
https://[::1]/ https://[::]/ https://[::ffff:127.0.0.1]/ https://[::ffff:7f00:1]/ https://[0:0:0:0:0:ffff:a9fe:a9fe]/ https://[fd00:ec2::254]/
https://[64:ff9b::7f00:1]/ https://[2002:7f00:1::]/ https://[fe80::1]/ https://localhost/ https://LOCALHOST/ https://localhost./
https://a.localhost/ https://１２７.０.０.１/ https://①②⑦.⓪.⓪.①/ https://127。0。0。1/ https://%31%32%37.0.0.1/ https://user@example.org/
https://user:pass@example.org/ https://8.8.8.8@10.0.0.1/ http://example.org/ ftp://example.org/ file:///etc/passwd gopher://10.0.0.1/
data:text/html,x javascript:alert(1) //example.org/ example.org https:// https://[::1 https://0x100000000/ https://256.0.0.1/
https://999.1.1.1/ https://2822734096/`
  .trim()
  .split(/\s+/);

const allowed = `
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.216.34 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 169.253.255.255
172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 2001:4860:4860::8888
2606:4700:4700::1111 2a00:1450:4001:81b::200e 2400:cb00::1`
  .trim()
  .split(/\s+/);

describe('addresses that a source on the web may lie at', () => {
  test('the table has more than a hundred cases', () => {
    expect(new Set([...refused, ...spellings]).size).toBeGreaterThan(100);
  });
  test.each(refused)('%s is not dialled', (address) => {
    expect(addressFault(address)).not.toBeNull();
    expect(
      judged(
        [
          { address: '8.8.8.8', family: 4 },
          { address, family: 4 },
        ],
        {},
      ),
    ).not.toBeNull();
  });
  test.each(spellings)('%s is not asked for', (url) => {
    expect(urlFault(url)).not.toBeNull();
  });
  test.each(allowed)('%s is public', (address) => {
    expect(addressFault(address)).toBeNull();
    expect(judged([{ address, family: 4 }], {})).toBeNull();
  });
  test.each([
    'https://example.org/',
    'https://example.org:8443/a?b=c',
    'https://xn--fiqs8s/',
    'https://8.8.8.8/',
  ])('%s may be asked for', (url) => expect(urlFault(url)).toBeNull());
  test('a name that leads nowhere is refused', () => expect(judged([], {})).not.toBeNull());
});

describe('robots.txt', () => {
  const text = [
    'User-agent: *',
    'Disallow: /private',
    'Allow: /private/open',
    'Disallow: /*.php$',
    'Crawl-delay: 2',
    '',
    'User-agent: Other',
    'User-agent: temper # that is us',
    'Disallow: /a*b',
    'Disallow:',
  ].join('\r\n');
  test.each([
    ['other', '/private', true],
    ['none', '/private/x', false],
    ['none', '/private/open/x', true],
    ['none', '/x.php', false],
    ['none', '/x.php?y', true],
    ['Temper', '/private', true],
    ['Temper', '/axxb', false],
    ['Temper', '/ax', true],
    ['none', '/robots.txt', true],
  ])('for %s, %s: %s', (agent, path, allows) => {
    expect(parseRobots(text, agent).allows(path)).toBe(allows);
  });
  test('asks for a delay', () => {
    expect(parseRobots(text, 'none').delayMs).toBe(2000);
    expect(parseRobots(text, 'temper').delayMs).toBeNull();
  });
  test('a pattern of many stars is matched in time', () => {
    const rules = parseRobots(`User-agent: *\nDisallow: /${'*a'.repeat(5000)}b`, 'x');
    expect(rules.allows(`/${'a'.repeat(5000)}`)).toBe(true);
  });
});
