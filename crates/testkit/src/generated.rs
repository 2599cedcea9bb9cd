//! Projects of as many images as a test wants.

use std::collections::BTreeSet;
use std::path::Path;

/// A project of images in layers: each needs one or two images of the layer before it, one by `FROM` and
/// the other by `COPY --from`. The same numbers give the same project.
///
/// Images copy a small file of their own from `iNN/file` and nothing else, unless
/// [`with_runs`](Self::with_runs) says so.
#[derive(Clone, Debug)]
pub struct GeneratedProject {
    /// By image: the images before it that it needs; the first is what it is built from.
    needs: Vec<Vec<usize>>,
    runs: Option<Runs>,
}

#[derive(Clone, Debug)]
struct Runs {
    every: usize,
    base: String,
    command: String,
}

impl GeneratedProject {
    /// `depth` layers of `width` images each.
    pub fn new(depth: usize, width: usize) -> Self {
        let mut needs = Vec::with_capacity(depth * width);
        for image in 0..depth * width {
            let (layer, column) = (image / width, image % width);
            if layer == 0 {
                needs.push(Vec::new());
                continue;
            }
            let before = (layer - 1) * width;
            // A chain in each column, and every other image also takes from a neighbour.
            let mut of_this = vec![before + column];
            let neighbour = before + (column + 1) % width;
            if (layer + column).is_multiple_of(2) && !of_this.contains(&neighbour) {
                of_this.push(neighbour);
            }
            needs.push(of_this);
        }
        Self { needs, runs: None }
    }

    /// Every `every`th image begins from `base`, an image with a shell, and runs `command`; what it would
    /// be built from it copies from instead.
    #[must_use]
    pub fn with_runs(mut self, every: usize, base: &str, command: &str) -> Self {
        self.runs = Some(Runs { every, base: base.to_owned(), command: command.to_owned() });
        self
    }

    /// How many images there are.
    pub fn images(&self) -> usize {
        self.needs.len()
    }

    /// What an image is called.
    pub fn name(image: usize) -> String {
        format!("i{image:03}")
    }

    /// The images that an image needs.
    pub fn needs(&self, image: usize) -> &[usize] {
        &self.needs[image]
    }

    /// Writes the project, with `seed` in every image's file. `project` goes into `[project]`, such as
    /// `registry = "…"`.
    ///
    /// # Panics
    ///
    /// The directory cannot be written.
    pub fn write(&self, root: &Path, project: &str, seed: &str) {
        let mut config = format!("[project]\n{project}\n");
        for image in 0..self.images() {
            let name = Self::name(image);
            config.push_str(&format!("[images.{name}]\n"));
            let directory = root.join(&name);
            std::fs::create_dir_all(&directory).expect("the project's directory can be written");
            std::fs::write(directory.join("Dockerfile"), self.dockerfile(image))
                .expect("the project's directory can be written");
            self.change(root, image, seed);
        }
        std::fs::write(root.join("dockit.toml"), config)
            .expect("the project's directory can be written");
    }

    /// Changes what an image copies.
    ///
    /// # Panics
    ///
    /// The file cannot be written.
    pub fn change(&self, root: &Path, image: usize, seed: &str) {
        let name = Self::name(image);
        std::fs::write(root.join(&name).join("file"), format!("{seed} {name}\n"))
            .expect("the project's directory can be written");
    }

    /// The images that get another key when these change: they and whatever needs them, also through
    /// others.
    pub fn affected(&self, changed: &[usize]) -> BTreeSet<String> {
        let mut affected: BTreeSet<usize> = changed.iter().copied().collect();
        // Until nothing is added, whatever the order of the images.
        loop {
            let more: Vec<usize> = (0..self.images())
                .filter(|image| !affected.contains(image))
                .filter(|image| self.needs[*image].iter().any(|other| affected.contains(other)))
                .collect();
            if more.is_empty() {
                return affected.into_iter().map(Self::name).collect();
            }
            affected.extend(more);
        }
    }

    /// Seconds of the longest chain, if each image takes as long as `seconds` says.
    pub fn longest_chain(&self, seconds: impl Fn(&str) -> f64) -> f64 {
        let mut chains: Vec<f64> = Vec::with_capacity(self.images());
        for (image, needs) in self.needs.iter().enumerate() {
            let before = needs.iter().map(|other| chains[*other]).fold(0.0, f64::max);
            chains.push(before + seconds(&Self::name(image)));
        }
        chains.into_iter().fold(0.0, f64::max)
    }

    fn dockerfile(&self, image: usize) -> String {
        let name = Self::name(image);
        let own = format!("COPY file /{name}\n");
        let copy = |other: &usize| {
            let other = Self::name(*other);
            format!("COPY --from={other} /{other} /{other}\n")
        };
        match (&self.runs, self.needs[image].split_first()) {
            (Some(runs), _) if image.is_multiple_of(runs.every) => {
                let copies: String = self.needs[image].iter().map(copy).collect();
                format!("FROM {}\n{own}{copies}RUN {}\n", runs.base, runs.command)
            }
            (_, Some((from, others))) => {
                let copies: String = others.iter().map(copy).collect();
                format!("FROM {}\n{own}{copies}", Self::name(*from))
            }
            (_, None) => format!("FROM scratch\n{own}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_affected_follows_from_what_is_needed() {
        let project = GeneratedProject::new(3, 2);
        let needs: Vec<&[usize]> = (0..6).map(|image| project.needs(image)).collect();
        assert_eq!(needs, [&[][..], &[], &[0], &[1, 0], &[2, 3], &[3]]);
        let names = |images: &[usize]| -> BTreeSet<String> {
            images.iter().map(|image| GeneratedProject::name(*image)).collect()
        };
        assert_eq!(project.affected(&[5]), names(&[5]));
        assert_eq!(project.affected(&[1]), names(&[1, 3, 4, 5]));
        assert_eq!(project.affected(&[2]), names(&[2, 4]));
        assert_eq!(project.longest_chain(|name| if name == "i003" { 5.0 } else { 1.0 }), 7.0);
    }
}
