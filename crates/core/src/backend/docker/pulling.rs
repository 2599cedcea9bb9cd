//! How far a pull is, from what the engine says of each layer.

use std::collections::BTreeMap;

use bollard::models::CreateImageInfo;

/// Bytes of the layers that the engine said it downloads.
#[derive(Debug, Default)]
pub(super) struct Downloads {
    /// By layer, what is there and what there will be.
    layers: BTreeMap<String, (u64, u64)>,
}

impl Downloads {
    /// Takes what the engine says; returns the sums where it was about bytes.
    pub(super) fn take(&mut self, said: &CreateImageInfo) -> Option<(u64, u64)> {
        let id = said.id.as_ref()?;
        match said.status.as_deref()? {
            "Downloading" => {
                let detail = said.progress_detail.as_ref()?;
                let bytes = |number: Option<i64>| u64::try_from(number?).ok();
                let current = bytes(detail.current)?;
                // Of what it fetches without knowing the size, the size is what is there.
                let total = bytes(detail.total).unwrap_or(0).max(current);
                self.layers.insert(id.clone(), (current, total));
            }
            "Verifying Checksum" | "Download complete" | "Pull complete" => {
                let layer = self.layers.get_mut(id)?;
                layer.0 = layer.1;
            }
            _ => return None,
        }
        let sum = |which: fn(&(u64, u64)) -> u64| self.layers.values().map(which).sum();
        Some((sum(|layer| layer.0), sum(|layer| layer.1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_add_up() {
        let lines = [
            (r#"{"status":"Pulling from p/app","id":"k1-00"}"#, None),
            (r#"{"status":"Pulling fs layer","progressDetail":{},"id":"a"}"#, None),
            (r#"{"status":"Already exists","progressDetail":{},"id":"z"}"#, None),
            (
                r#"{"status":"Downloading","progressDetail":{"current":10,"total":100},"id":"a"}"#,
                Some((10, 100)),
            ),
            (
                r#"{"status":"Downloading","progressDetail":{"current":5,"total":50},"id":"b"}"#,
                Some((15, 150)),
            ),
            (
                r#"{"status":"Downloading","progressDetail":{"current":60,"total":100},"id":"a"}"#,
                Some((65, 150)),
            ),
            (r#"{"status":"Download complete","progressDetail":{},"id":"a"}"#, Some((105, 150))),
            // Small layers are not told of while they come.
            (r#"{"status":"Download complete","progressDetail":{},"id":"c"}"#, None),
            (
                r#"{"status":"Extracting","progressDetail":{"current":1,"total":100},"id":"a"}"#,
                None,
            ),
            (
                r#"{"status":"Downloading","progressDetail":{"current":7,"total":-1},"id":"d"}"#,
                Some((112, 157)),
            ),
            (r#"{"status":"Digest: sha256:00"}"#, None),
        ];
        let mut downloads = Downloads::default();
        for (line, expected) in lines {
            let said: CreateImageInfo = serde_json::from_str(line).unwrap();
            assert_eq!(downloads.take(&said), expected, "{line}");
        }
    }
}
