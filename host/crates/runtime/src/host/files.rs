//! `wasi:filesystem`: wasmtime's own, with a security event for each use that it denies.
//!
//! Some attempts are never seen. A path that begins with no granted folder is refused by the guest's own C library, which
//! asks the host for nothing.

use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream, ErrorCode,
    Filesize, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

use crate::denials::{Denials, Denied, DeniedBy};
use crate::intake::Intake;
use crate::state::State;

/// What stands for a file or folder that is open, and whose path is not kept.
const OPEN: &str = "what is open already";

/// The guest's names of the granted folders that it has open, by handle; at most as many as the instance may hold resources.
#[derive(Default)]
pub(crate) struct Folders(Vec<(u32, String)>);

/// wasmtime's file system for one call of the guest, and what watches over it.
pub(crate) struct Files<'a> {
    pub(crate) inner: WasiFilesystemCtxView<'a>,
    pub(crate) folders: &'a mut Folders,
    pub(crate) intake: &'a mut Intake,
    pub(crate) denials: &'a Denials,
}

struct WatchedFiles;

impl HasData for WatchedFiles {
    type Data<'a> = Files<'a>;
}

/// Puts this file system in the place of wasmtime's.
pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    types::add_to_linker::<State, WatchedFiles>(linker, State::files)?;
    preopens::add_to_linker::<State, WatchedFiles>(linker, State::files)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl Files<'_> {
    /// A path as the guest means it.
    fn at(&self, folder: &Resource<Descriptor>, path: &str) -> String {
        match self.folders.0.iter().find(|(handle, _)| *handle == folder.rep()) {
            Some((_, name)) => format!("{name}/{path}"),
            None => path.to_owned(),
        }
    }

    /// Passes a result on, and tells of it if it is a denial.
    fn watched<T>(&mut self, operation: &str, target: &str, result: FsResult<T>) -> FsResult<T> {
        let by = match result.as_ref().map_err(FsError::downcast_ref) {
            Err(Some(ErrorCode::NotPermitted)) => DeniedBy::Grants,
            Err(Some(ErrorCode::Access)) => DeniedBy::System,
            _ => return result,
        };
        let denied = Denied { by, permission: "files", operation, target };
        self.denials.tell(denied, |level, message, fields| self.intake.host_log(level, message, fields));
        result
    }
}

impl preopens::Host for Files<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let folders = preopens::Host::get_directories(&mut self.inner)?;
        self.folders.0.extend(folders.iter().map(|(folder, name)| (folder.rep(), name.clone())));
        Ok(folders)
    }
}

impl types::Host for Files<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        types::Host::convert_error_code(&mut self.inner, error)
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        types::Host::filesystem_error_code(&mut self.inner, error)
    }
}

/// Delegates a function that takes no path.
macro_rules! of_an_open_one {
    ($(async $name:ident as $told:literal ($($argument:ident: $type:ty),*) -> $output:ty;)*) => {$(
        async fn $name(&mut self, fd: Resource<Descriptor>, $($argument: $type),*) -> FsResult<$output> {
            let result = self.inner.$name(fd, $($argument),*).await;
            self.watched($told, OPEN, result)
        }
    )*};
    ($($name:ident as $told:literal ($($argument:ident: $type:ty),*) -> $output:ty;)*) => {$(
        fn $name(&mut self, fd: Resource<Descriptor>, $($argument: $type),*) -> FsResult<$output> {
            let result = self.inner.$name(fd, $($argument),*);
            self.watched($told, OPEN, result)
        }
    )*};
}

/// Delegates a function that takes one path of a folder, between other arguments.
macro_rules! of_a_path {
    ($(async $name:ident as $told:literal
        ($($before:ident: $before_type:ty),*; $path:ident; $($after:ident: $after_type:ty),*) -> $output:ty;)*) => {$(
        async fn $name(
            &mut self,
            fd: Resource<Descriptor>,
            $($before: $before_type,)*
            $path: String,
            $($after: $after_type),*
        ) -> FsResult<$output> {
            let target = self.at(&fd, &$path);
            let result = self.inner.$name(fd, $($before,)* $path, $($after),*).await;
            self.watched($told, &target, result)
        }
    )*};
}

impl HostDescriptor for Files<'_> {
    of_an_open_one! {
        async advise as "advise" (offset: Filesize, length: Filesize, advice: Advice) -> ();
        async sync_data as "sync-data" () -> ();
        async get_flags as "get-flags" () -> DescriptorFlags;
        async get_type as "get-type" () -> DescriptorType;
        async set_size as "set-size" (size: Filesize) -> ();
        async set_times as "set-times" (accessed: NewTimestamp, modified: NewTimestamp) -> ();
        async read as "read" (length: Filesize, offset: Filesize) -> (Vec<u8>, bool);
        async write as "write" (bytes: Vec<u8>, offset: Filesize) -> Filesize;
        async read_directory as "read-directory" () -> Resource<DirectoryEntryStream>;
        async sync as "sync" () -> ();
        async stat as "stat" () -> DescriptorStat;
        async metadata_hash as "metadata-hash" () -> MetadataHashValue;
    }

    of_an_open_one! {
        read_via_stream as "read-via-stream" (offset: Filesize) -> Resource<DynInputStream>;
        write_via_stream as "write-via-stream" (offset: Filesize) -> Resource<DynOutputStream>;
        append_via_stream as "append-via-stream" () -> Resource<DynOutputStream>;
    }

    of_a_path! {
        async create_directory_at as "create-directory-at" (; path;) -> ();
        async stat_at as "stat-at" (path_flags: PathFlags; path;) -> DescriptorStat;
        async set_times_at as "set-times-at"
            (path_flags: PathFlags; path; accessed: NewTimestamp, modified: NewTimestamp) -> ();
        async open_at as "open-at"
            (path_flags: PathFlags; path; open_flags: OpenFlags, flags: DescriptorFlags) -> Resource<Descriptor>;
        async readlink_at as "readlink-at" (; path;) -> String;
        async remove_directory_at as "remove-directory-at" (; path;) -> ();
        async unlink_file_at as "unlink-file-at" (; path;) -> ();
        async metadata_hash_at as "metadata-hash-at" (path_flags: PathFlags; path;) -> MetadataHashValue;
    }

    async fn link_at(
        &mut self,
        fd: Resource<Descriptor>,
        old_flags: PathFlags,
        old_path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let target = format!("{} to {}", self.at(&fd, &old_path), self.at(&new_fd, &new_path));
        let result = self.inner.link_at(fd, old_flags, old_path, new_fd, new_path).await;
        self.watched("link-at", &target, result)
    }

    async fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        old_path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let target = format!("{} to {}", self.at(&fd, &old_path), self.at(&new_fd, &new_path));
        let result = self.inner.rename_at(fd, old_path, new_fd, new_path).await;
        self.watched("rename-at", &target, result)
    }

    async fn symlink_at(&mut self, fd: Resource<Descriptor>, leads_to: String, path: String) -> FsResult<()> {
        let target = format!("{} to {leads_to}", self.at(&fd, &path));
        let result = self.inner.symlink_at(fd, leads_to, path).await;
        self.watched("symlink-at", &target, result)
    }

    async fn is_same_object(
        &mut self,
        one: Resource<Descriptor>,
        other: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        self.inner.is_same_object(one, other).await
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.folders.0.retain(|(handle, _)| *handle != fd.rep());
        HostDescriptor::drop(&mut self.inner, fd)
    }
}

impl HostDirectoryEntryStream for Files<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.inner.read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.inner, stream)
    }
}
