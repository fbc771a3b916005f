//! What is stored, taken elsewhere: records as values that serialise, and writers of the formats that people's tools read.

pub mod records;
