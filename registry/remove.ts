/** Removes an object for good: where a bucket keeps versions, a plain deletion would only cover them with a marker. */
import {
  DeleteObjectCommand,
  ListObjectVersionsCommand,
  type ListObjectVersionsCommandInput,
} from '@aws-sdk/client-s3';
import type { Connection } from './requests.ts';

/** Deletes every version of a key, and every marker, by its version id. */
export async function removeObject(
  { client, requests, bucket }: Connection,
  key: string,
): Promise<void> {
  let at: Pick<ListObjectVersionsCommandInput, 'KeyMarker' | 'VersionIdMarker'> | null = {};
  while (at !== null) {
    const input: ListObjectVersionsCommandInput = { Bucket: bucket, Prefix: key, ...at };
    const page = await requests.send(`a list of the versions of ${key}`, () =>
      client.send(new ListObjectVersionsCommand(input)),
    );
    const found = [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])];
    for (const { Key, VersionId } of found) {
      if (Key !== key) continue;
      await requests.send(`a deletion of ${key}`, () =>
        client.send(
          new DeleteObjectCommand({
            Bucket: bucket,
            Key: key,
            ...(VersionId !== undefined && { VersionId }),
          }),
        ),
      );
    }
    // Keys come in order: one behind ours ends the list.
    const isOver = page.IsTruncated !== true || found.some(({ Key }) => (Key ?? '') > key);
    at = isOver
      ? null
      : { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker };
  }
}
