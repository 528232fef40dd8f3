//! The data folder, which only one program can use at a time.

use std::{
    fs::{File, TryLockError},
    io,
    path::PathBuf,
};

use super::error::Error;

/// Where the state is stored.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The folder of the state, which is created if it does not exist. It contains `s3/`, `secrets.json`, `sqs.json`, `messages.jsonl` and, for a database in a
    /// file, `dynamodb.sqlite`.
    pub dir: PathBuf,
    /// Where the tables are stored.
    pub database: DatabaseKind,
}

impl Storage {
    /// Locks the folder for this program, and creates it if it does not exist.
    pub fn lock(&self) -> Result<Lock, Error> {
        let path = self.dir.join("lock");
        std::fs::create_dir_all(&self.dir).map_err(|error| Error::new("create the folder", &self.dir, error))?;
        let file = File::create(&path).map_err(|error| Error::new("write", &path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                let reason =
                    "another running instance uses it; stop that one, or choose another folder with --data-dir";
                Err(Error::new("use the data folder", &self.dir, reason))
            }
            Err(TryLockError::Error(error)) => Err(Error::new("lock", &path, error)),
        }
    }

    /// Deletes the state of earlier runs in the folder, and no other files.
    pub fn delete(&self) -> Result<(), Error> {
        let database = ["dynamodb.sqlite", "dynamodb.sqlite-wal", "dynamodb.sqlite-shm"];
        for name in ["s3", "secrets.json", "sqs.json", "messages.jsonl"]
            .iter()
            .chain(&database)
        {
            let path = self.dir.join(name);
            let deleted = match path.is_dir() {
                true => std::fs::remove_dir_all(&path),
                false => std::fs::remove_file(&path),
            };
            match deleted {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::new("delete", &path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Where the tables are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// In the file `dynamodb.sqlite` in [`Storage::dir`].
    File,
    /// In memory.
    Memory,
}

/// The folder is locked until this value is dropped or the program ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_is_rejected_until_its_user_has_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage {
            dir: dir.path().join("data"),
            database: DatabaseKind::File,
        };
        let lock = storage.lock().unwrap();
        let refused = storage.lock().unwrap_err().to_string();
        assert!(refused.contains("another running instance uses it"), "{refused}");
        assert_eq!(refused.lines().count(), 1);
        drop(lock);
        storage.lock().unwrap();
    }
}
