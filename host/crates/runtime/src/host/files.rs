//! `wasi:filesystem`: wasmtime's own, timed, with a security event for each use that it denies and a count of what is read and
//! written.
//!
//! Some attempts are never seen. A path that begins with no granted folder is refused by the guest's own C library, which
//! asks the host for nothing.

use glasshouse_model::HostFunction;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream, ErrorCode,
    Filesize, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

use crate::denials::{Denials, Denied, DeniedBy};
use crate::host::streams::{count_input, count_output};
use crate::imports::{Timing, Way};
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
    pub(crate) timing: Timing<'a>,
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

impl Files<'_> {
    /// A stream into a file, which counts what is written.
    fn counted(
        &mut self,
        operation: &str,
        result: FsResult<Resource<DynOutputStream>>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let stream = self.watched(operation, OPEN, result)?;
        count_output(self.inner.table, &stream, self.timing.pulse(), Way::Written).map_err(FsError::trap)?;
        Ok(stream)
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
    ($(async $name:ident as $told:literal is $function:ident ($($argument:ident: $type:ty),*) -> $output:ty;)*) => {$(
        async fn $name(&mut self, fd: Resource<Descriptor>, $($argument: $type),*) -> FsResult<$output> {
            self.timing.of(HostFunction::$function);
            let result = self.inner.$name(fd, $($argument),*).await;
            self.watched($told, OPEN, result)
        }
    )*};
}

/// Delegates a function that takes one path of a folder, between other arguments.
macro_rules! of_a_path {
    ($(async $name:ident as $told:literal is $function:ident
        ($($before:ident: $before_type:ty),*; $path:ident; $($after:ident: $after_type:ty),*) -> $output:ty;)*) => {$(
        async fn $name(
            &mut self,
            fd: Resource<Descriptor>,
            $($before: $before_type,)*
            $path: String,
            $($after: $after_type),*
        ) -> FsResult<$output> {
            self.timing.of(HostFunction::$function);
            let target = self.at(&fd, &$path);
            let result = self.inner.$name(fd, $($before,)* $path, $($after),*).await;
            self.watched($told, &target, result)
        }
    )*};
}

impl HostDescriptor for Files<'_> {
    of_an_open_one! {
        async advise as "advise" is File (offset: Filesize, length: Filesize, advice: Advice) -> ();
        async sync_data as "sync-data" is FileSync () -> ();
        async get_flags as "get-flags" is FileStat () -> DescriptorFlags;
        async get_type as "get-type" is FileStat () -> DescriptorType;
        async set_size as "set-size" is File (size: Filesize) -> ();
        async set_times as "set-times" is File (accessed: NewTimestamp, modified: NewTimestamp) -> ();
        async read_directory as "read-directory" is FileList () -> Resource<DirectoryEntryStream>;
        async sync as "sync" is FileSync () -> ();
        async stat as "stat" is FileStat () -> DescriptorStat;
        async metadata_hash as "metadata-hash" is FileStat () -> MetadataHashValue;
    }

    async fn read(
        &mut self,
        fd: Resource<Descriptor>,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        self.timing.of(HostFunction::FileRead);
        let result = self.inner.read(fd, length, offset).await;
        if let Ok((bytes, _)) = &result {
            self.timing.pulse().note_transfer(Way::Read, bytes.len());
        }
        self.watched("read", OPEN, result)
    }

    async fn write(&mut self, fd: Resource<Descriptor>, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        self.timing.of(HostFunction::FileWrite);
        let result = self.inner.write(fd, bytes, offset).await;
        if let Ok(written) = &result {
            self.timing.pulse().note_transfer(Way::Written, *written as usize);
        }
        self.watched("write", OPEN, result)
    }

    fn read_via_stream(&mut self, fd: Resource<Descriptor>, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        let result = self.inner.read_via_stream(fd, offset);
        let stream = self.watched("read-via-stream", OPEN, result)?;
        count_input(self.inner.table, &stream, self.timing.pulse(), Way::Read).map_err(FsError::trap)?;
        Ok(stream)
    }

    fn write_via_stream(&mut self, fd: Resource<Descriptor>, offset: Filesize) -> FsResult<Resource<DynOutputStream>> {
        let result = self.inner.write_via_stream(fd, offset);
        self.counted("write-via-stream", result)
    }

    fn append_via_stream(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DynOutputStream>> {
        let result = self.inner.append_via_stream(fd);
        self.counted("append-via-stream", result)
    }

    of_a_path! {
        async create_directory_at as "create-directory-at" is File (; path;) -> ();
        async stat_at as "stat-at" is FileStat (path_flags: PathFlags; path;) -> DescriptorStat;
        async set_times_at as "set-times-at" is File
            (path_flags: PathFlags; path; accessed: NewTimestamp, modified: NewTimestamp) -> ();
        async open_at as "open-at" is FileOpen
            (path_flags: PathFlags; path; open_flags: OpenFlags, flags: DescriptorFlags) -> Resource<Descriptor>;
        async readlink_at as "readlink-at" is File (; path;) -> String;
        async remove_directory_at as "remove-directory-at" is File (; path;) -> ();
        async unlink_file_at as "unlink-file-at" is File (; path;) -> ();
        async metadata_hash_at as "metadata-hash-at" is FileStat (path_flags: PathFlags; path;) -> MetadataHashValue;
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
        self.timing.of(HostFunction::FileList);
        self.inner.read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.inner, stream)
    }
}
