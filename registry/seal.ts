/**
 * Sealing: AES-256-GCM under a synthetic nonce, a keyed hash of the plain bytes. Equal bytes under one key are equal
 * sealed bytes, so a sealed blob has one name whoever writes it, and however often.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync } from 'node:crypto';

const algorithm = 'aes-256-gcm';
const schema = 'temper-sealed/1';
const nonceBytes = 12;
const tagBytes = 16;
/** Length of a data key. */
export const dataKeyBytes = 32;

/** One key for each use, and others for each id, so that no two uses share a nonce. */
function derive(secret: Uint8Array, id: string, use: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, schema, `${use} ${id}`, 32));
}

function nonceOf(plain: Uint8Array, secret: Uint8Array, id: string): Buffer {
  const mac = createHmac('sha256', derive(secret, id, 'nonce'))
    .update(plain)
    .digest();
  return mac.subarray(0, nonceBytes);
}

function associated(id: string): Buffer {
  return Buffer.from(`${schema}\0${id}`);
}

/** Nonce, encrypted bytes, tag. */
export function sealBytes(plain: Uint8Array, secret: Uint8Array, id: string): Buffer {
  const nonce = nonceOf(plain, secret, id);
  const cipher = createCipheriv(algorithm, derive(secret, id, 'encrypt'), nonce, {
    authTagLength: tagBytes,
  });
  cipher.setAAD(associated(id));
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** The plain bytes; null where key, id or any bit is another than when they were sealed. */
export function openBytes(sealed: Uint8Array, secret: Uint8Array, id: string): Buffer | null {
  if (sealed.byteLength < nonceBytes + tagBytes) return null;
  const nonce = sealed.subarray(0, nonceBytes);
  const end = sealed.byteLength - tagBytes;
  const decipher = createDecipheriv(algorithm, derive(secret, id, 'encrypt'), nonce, {
    authTagLength: tagBytes,
  });
  decipher.setAAD(associated(id));
  decipher.setAuthTag(sealed.subarray(end));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(nonceBytes, end)), decipher.final()]);
  } catch {
    return null;
  }
}
